# SPDX-License-Identifier: Apache-2.0
"""One flow on a wire, UDP to port 4321 of end b: ramps claim it in tests, and it is checked where it arrives."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from offramp.gen import packets
from offramp.ramp.ramp import Ramp
from offramp.testing import Wire
from tests.rigs.threads import meanwhile

__all__ = [
    "MATCH",
    "PORT",
    "claims",
    "datagrams",
    "frame",
    "kernel_receives",
    "kernel_socket",
    "send",
    "send_unanswered",
]

PORT = 4321
MATCH = f"udp dst port {PORT}"
GAP = 0.0005  # seconds between two datagrams
PAYLOAD = b"chosen flow"


def frame(wire: Wire) -> bytes:
    """One packet of the flow, for a flood."""
    datagram = packets.udp(sport=1024, dport=PORT, payload=PAYLOAD)
    return packets.eth(packets.ip(datagram, src="198.18.0.1", dst=wire.b.ip), dst=wire.b.mac)


@contextmanager
def datagrams(wire: Wire, payload: bytes = PAYLOAD) -> Iterator[None]:
    """Sends the flow, a packet every GAP, whatever happens to the wire."""
    with wire.a.host:
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(end: threading.Event) -> None:
        while not end.wait(GAP):
            try:
                sender.sendto(payload, (wire.b.ip, PORT))
            except OSError:  # the wire is down or gone
                time.sleep(0.01)

    with sender, meanwhile(send):
        yield


def send(wire: Wire, count: int, port: int = PORT) -> None:
    """Sends this many datagrams to that port of end b: "packet 0", "packet 1", ..."""
    with wire.a.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            sender.sendto(f"packet {number}".encode(), (wire.b.ip, port))


def send_unanswered(wire: Wire, count: int) -> None:
    """Sends this many frames from a to b that nobody answers."""
    experimental = 0x88B5  # an ethertype for local experiments
    frame = bytes(12) + experimental.to_bytes(2) + bytes(46)
    with wire.a.host, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((wire.a.name, experimental))
        for _ in range(count):
            raw.send(frame)


@contextmanager
def kernel_socket(wire: Wire) -> Iterator[socket.socket]:
    """A socket that receives the flow when the kernel has it."""
    with wire.b.host:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind(("", PORT))
        yield receiver


def kernel_receives(receiver: socket.socket, seconds: float = 1.0) -> bool:
    """Whether a datagram arrives from now on; those that waited before do not count."""
    receiver.setblocking(False)
    while True:
        try:
            receiver.recv(2048)
        except BlockingIOError:
            break
    receiver.settimeout(seconds)
    try:
        return bool(receiver.recv(2048))
    except TimeoutError:
        return False


def claims(ramp: Ramp, seconds: float = 1.0) -> bool:
    """Whether the ramp receives the flow in time: its payload, not just any packet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        batch = ramp.rx(0.05)
        if batch is not None:
            return all(bytes(batch[row]).rstrip(b"\0").endswith(PAYLOAD) for row in range(len(batch)))  # a NIC pads
    return False
