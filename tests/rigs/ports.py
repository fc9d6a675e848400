# SPDX-License-Identifier: Apache-2.0
"""What a port is put on for tests: something that makes packets arrive, and perhaps sees what leaves.

A rig opens a port on which the given frames arrive, each once, in order, and little by little. The cases of
`port_cases.py` know nothing else.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar, Literal, Protocol

from offramp.gen.packets import eth, ip, udp
from offramp.ports import Port, open_port
from tests.rigs.threads import meanwhile

__all__ = ["AROUND", "DEADLINE", "Loop", "Null", "Oversized", "Rig", "frame", "numbers"]

DEADLINE = 30.0  # seconds until a test that waits gives up

AROUND = {"plain": "", "traced": f"trace,file={os.devnull}+", "faults": "faults,seed=1+"}
"""What each port is tested in: nothing, a tracer, and a fault injector that injects nothing."""

Oversized = Literal["cut", "refused", "never"]


class Rig(Protocol):
    """`lossless`: a slow reader makes the writer wait. `oversized`: what happens to a packet larger than a frame.

    `without`: the cases that cannot apply, by name, and why.
    """

    lossless: ClassVar[bool]
    oversized: ClassVar[Oversized]
    without: ClassVar[Mapping[str, str]]

    def open(self, arriving: Sequence[bytes], *, around: str = "", **options: int) -> AbstractContextManager[Port]:
        """`around`: wrappers, as in a URI."""
        ...

    def close(self, port: Port) -> None:
        """Close it as the port's owner does."""


def frame(number: int, size: int = 60) -> bytes:
    """A frame of that many bytes that contains its number: UDP to port 4321."""
    payload = number.to_bytes(4, "big") + bytes(max(size, 60) - 46)
    return eth(ip(udp(sport=1024, dport=4321, payload=payload), src="198.18.0.1", dst="198.18.0.2"))


def numbers(frames: Sequence[bytes] | Iterator[memoryview]) -> list[int]:
    """The numbers of frames, in their order."""
    return [int.from_bytes(bytes(each)[42:46], "big") for each in frames]


class Null:
    """`null:`, which has the packets from the start."""

    lossless: ClassVar = True
    without: ClassVar[Mapping[str, str]] = {}
    oversized: ClassVar[Oversized] = "refused"

    def __init__(self, around: str = "") -> None:
        self._around = around

    @contextmanager
    def open(self, arriving: Sequence[bytes], *, around: str = "", **options: int) -> Iterator[Port]:
        with open_port(f"{around}{self._around}null:", packets=arriving, repeat=False, **options) as port:
            yield port

    def close(self, port: Port) -> None:
        port.close()


class Loop:
    """`loop:NAME`. A thread sends the packets to its other end, and then closes that end."""

    lossless: ClassVar = True
    without: ClassVar[Mapping[str, str]] = {}
    oversized: ClassVar[Oversized] = "cut"
    _count = itertools.count()

    def __init__(self, around: str = "") -> None:
        self._around = around

    @contextmanager
    def open(self, arriving: Sequence[bytes], *, around: str = "", **options: int) -> Iterator[Port]:
        name = f"loop:rig-{next(self._count)}"

        def feed(over: threading.Event) -> None:
            left, deadline = list(arriving), time.monotonic() + DEADLINE
            with peer:
                while left and not over.is_set() and time.monotonic() < deadline:
                    del left[: peer.send(left, timeout=0.05)]

        with open_port(around + self._around + name, **options) as port:
            peer = open_port(name)
            with meanwhile(feed):
                yield port

    def close(self, port: Port) -> None:
        port.close()
