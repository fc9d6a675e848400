# SPDX-License-Identifier: Apache-2.0
"""The four that take the flood, each in a process of its own on the flooded host:

    kernel-socket    a UDP socket, read with recvmmsg(2), 256 datagrams a call    packets end in the application
    iptables-raw     iptables -t raw -A PREROUTING ... -j DROP                    at the entrance of the kernel's stack
    offramp-user     batches of offramp.open(...), counted in a Python loop       in the application
    offramp-driver   offramp.attach(..., DROP)                                    in the driver

The two that receive have equal room: for about 8,000 packets, in the socket's buffer or in the AF_XDP ring. They share
their CPU with the kernel's receive thread, so they need this room for the milliseconds in which it is not their turn.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from offramp.demo.actor import begin, listen, rest, say, told
from offramp.ramp.ledger import Ledger

__all__ = ["CONTENDERS", "PORT"]

PORT = 4321
MATCH = f"udp dst port {PORT}"
SLICE = 0.1  # seconds without a packet after which a receiver looks for its cue to stop
RING = 8192  # packets
SO_RCVBUFFORCE = 33
SOCKET_BUFFER = RING * 4096  # bytes; a live frame counts as a page and more

Taken = tuple[int, Ledger | None]  # packets, and offramp's account of them
Take = Callable[[], Taken]


class CannotTakePart(Exception):
    """Why, and what to do about it."""


@contextmanager
def kernel_socket(interface: str, address: str) -> Iterator[Take]:
    from offramp._native import drain_udp

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER)
        receiver.bind((address, PORT))

        def take() -> Taken:
            received = 0
            while (datagrams := drain_udp(receiver.fileno(), SLICE)) or not told():
                received += datagrams
            return received, None

        yield take


@contextmanager
def iptables_raw(interface: str, address: str) -> Iterator[Take]:
    if shutil.which("iptables") is None:
        raise CannotTakePart("no iptables in PATH", "apt install iptables")
    rule = f"-i {interface} -p udp --dport {PORT} -j DROP".split()
    _iptables("-A", "PREROUTING", *rule)

    def take() -> Taken:
        listen()
        row = next(row.split() for row in _iptables("-nvxL", "PREROUTING").splitlines() if f"dpt:{PORT}" in row)
        return int(row[0]), None

    yield take


def _iptables(*arguments: str) -> str:
    command = ["iptables", "-w", "-t", "raw", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotTakePart(done.stderr.strip().splitlines()[0], "iptables needs the raw table: modprobe iptable_raw")
    return done.stdout


@contextmanager
def offramp_user(interface: str, address: str) -> Iterator[Take]:
    import offramp

    with offramp.open(interface, MATCH, ring=RING, frames=2 * RING) as ramp:

        def take() -> Taken:
            received = 0
            while (batch := ramp.rx(SLICE)) or not told():
                received += len(batch) if batch else 0
            return received, ramp.ledger()

        yield take


@contextmanager
def offramp_driver(interface: str, address: str) -> Iterator[Take]:
    import offramp

    with offramp.attach(interface, MATCH, offramp.DROP) as guard:

        def take() -> Taken:
            listen()
            ledger = guard.ledger()
            return ledger.claimed, ledger

        yield take


CONTENDERS: dict[str, Callable[[str, str], AbstractContextManager[Take]]] = {
    "kernel-socket": kernel_socket,
    "iptables-raw": iptables_raw,
    "offramp-user": offramp_user,
    "offramp-driver": offramp_driver,
}


def main() -> None:
    orders = begin()
    try:
        with CONTENDERS[orders["name"]](orders["interface"], orders["address"]) as take:
            say(ready=True)
            received, ledger = take()
            say(received=received, ledger=ledger.to_dict() if ledger else None)
            rest()
    except CannotTakePart as refusal:
        reason, remedy = refusal.args
        say(ready=False, skipped=reason, remedy=remedy)


if __name__ == "__main__":
    main()
