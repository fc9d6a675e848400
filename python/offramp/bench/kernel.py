# SPDX-License-Identifier: Apache-2.0
"""The kernel's own ways to take a flow.

kernel-socket    a UDP socket, read with recvmmsg(2), 256 datagrams a call    packets end in the application
iptables-raw     iptables -t raw -A PREROUTING ... -j DROP                    at the entrance of the kernel's stack
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from offramp.bench.contender import Contender, Missing, Running, Target, receiving
from offramp.errors import OfframpError

__all__ = ["IPTABLES_RAW", "KERNEL_SOCKET"]

SO_RCVBUFFORCE = 33
SOCKET_BUFFER = 8192 * 4096  # bytes: some 8,000 packets, because a live frame counts as more than a page
IPTABLES = ("iptables", "-w", "-t", "raw")


@contextmanager
def _kernel_socket(target: Target) -> Iterator[Running]:
    from offramp._native import drain_udp

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER)
        receiver.bind((target.address, target.port))
        yield receiving(partial(drain_udp, receiver.fileno()))


@contextmanager
def _iptables_raw(target: Target) -> Iterator[Running]:
    rule = f"PREROUTING -i {target.interface} -p udp --dport {target.port} -j DROP".split()

    def dropped() -> int:
        listing = _iptables("-nvxL", "PREROUTING").splitlines()
        return next(int(row.split()[0]) for row in listing if f"dpt:{target.port}" in row)

    _iptables("-A", *rule)
    try:
        yield Running(dropped)
    finally:
        _iptables("-D", *rule)


def _iptables(*arguments: str) -> str:
    done = subprocess.run([*IPTABLES, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OfframpError(f"{' '.join([*IPTABLES, *arguments])} failed", reason=_complaint(done))
    return done.stdout


def _iptables_missing() -> Missing | None:
    if shutil.which("iptables") is None:
        return Missing("no iptables in PATH", "apt install iptables")
    done = subprocess.run([*IPTABLES, "-nL", "PREROUTING"], capture_output=True, text=True, check=False)
    return Missing(_complaint(done), "iptables needs the raw table: modprobe iptable_raw") if done.returncode else None


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    return next(iter(done.stderr.strip().splitlines()), f"exit status {done.returncode}")


KERNEL_SOCKET = Contender("kernel-socket", _kernel_socket)
IPTABLES_RAW = Contender("iptables-raw", _iptables_raw, _iptables_missing)
