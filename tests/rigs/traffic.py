# SPDX-License-Identifier: Apache-2.0
"""One flow on a wire, UDP to port 4321 of end b: what ramps claim in tests, and where it is seen to arrive."""

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

__all__ = ["MATCH", "PORT", "claims", "datagrams", "frame", "kernel_receives", "kernel_socket"]

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
    """The flow, a packet every GAP, whatever becomes of the wire."""
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


@contextmanager
def kernel_socket(wire: Wire) -> Iterator[socket.socket]:
    """Receives the flow when the kernel has it."""
    with wire.b.host:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind(("", PORT))
        yield receiver


def kernel_receives(receiver: socket.socket, seconds: float = 1.0) -> bool:
    """Whether a datagram arrives from now on; those that waited do not count."""
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
    """Whether the ramp receives the flow in time: the payload, not just anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        batch = ramp.rx(0.05)
        if batch is not None:
            return all(bytes(batch[row]).rstrip(b"\0").endswith(PAYLOAD) for row in range(len(batch)))  # a NIC pads
    return False
