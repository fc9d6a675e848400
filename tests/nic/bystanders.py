# SPDX-License-Identifier: Apache-2.0
"""Traffic that must notice nothing: UDP flows from many addresses, a TCP transfer and pings, through the kernel.

Each round sends one datagram of each flow and waits for all of them, so that what is lost was lost by who receives, and
not because a wire was too full.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Thread

from offramp.testing import Wire
from tests.nic.functions import PATIENCE

__all__ = ["FLOWS", "Bystanders", "bystanders"]

FLOWS = 24
PORT = 7000
TRANSFER = 1 << 18  # bytes


@dataclass(frozen=True)
class Bystanders:
    wire: Wire
    senders: list[socket.socket]
    receiver: socket.socket

    def undisturbed(self, rounds: int) -> None:
        """Errors: AssertionError: what was lost."""
        for number in range(rounds):
            words = {f"{number} {flow}".encode(): sender for flow, sender in enumerate(self.senders)}
            for word, sender in words.items():
                sender.sendto(word, (self.wire.b.ip, PORT))
            missing = set(words)
            while missing:
                try:
                    missing.discard(self.receiver.recv(100))
                except TimeoutError:
                    raise AssertionError(f"lost in round {number}: {missing}") from None
        self._transfer()
        self._ping()

    def _transfer(self) -> None:
        """Over TCP, from the device under test and back to it."""
        sent = hashlib.shake_128(b"transfer").digest(TRANSFER)
        with self.wire.b.host:
            listener = socket.create_server((self.wire.b.ip, 0))
        with self.wire.a.host:
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with listener, client:
            client.settimeout(PATIENCE)
            listener.settimeout(PATIENCE)
            client.connect(listener.getsockname())
            server, _ = listener.accept()
            server.settimeout(PATIENCE)
            with server:
                for one, two in ((client, server), (server, client)):
                    sending = Thread(target=one.sendall, args=(sent,))
                    sending.start()
                    assert _received(two, len(sent)) == sent
                    sending.join()

    def _ping(self) -> None:
        command = ["ping", "-c", "10", "-i", "0.1", "-W", str(int(PATIENCE)), self.wire.b.ip]
        assert " 0% packet loss" in self.wire.a.host.run(command).stdout


def _received(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += connection.recv(size - len(found)) or b"\0" * size
    return found


@contextmanager
def bystanders(wire: Wire) -> Iterator[Bystanders]:
    """Each flow has an address of its own, so that RSS spreads them."""
    with ExitStack() as stack:
        route = stack.enter_context(wire.a.host.netlink())
        senders = []
        for flow in range(FLOWS):
            address = f"{wire.a.ip.rpartition('.')[0]}.{100 + flow}"
            route.addr("add", index=wire.a.ifindex, address=address, prefixlen=24)
            stack.callback(route.addr, "del", index=wire.a.ifindex, address=address, prefixlen=24)
            with wire.a.host:
                sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sender.bind((address, 10_000 + 37 * flow))
            senders.append(sender)
        with wire.b.host:
            receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.bind(("", PORT))
        receiver.settimeout(PATIENCE)
        yield Bystanders(wire, senders, receiver)
