# SPDX-License-Identifier: Apache-2.0
"""eBPF by hand: small programs, and a map of numbers that they count in."""

from __future__ import annotations

import os
import struct

from offramp.bpf import Map, MapFlag, MapType, Program
from offramp.emit.bytecode import instruction
from offramp.emit.program import MapSlot
from offramp.emit.program import XdpProgram as Code

__all__ = [
    "DROP",
    "FRAME",
    "KEY",
    "NOTHING_IN_R0",
    "PASS",
    "counts",
    "descriptors",
    "load",
    "read_words",
    "returns",
    "words",
]

DROP, PASS = 1, 2
KEY = bytes(4)  # of the only element of an array
FRAME = bytes(64)


def returns(verdict: int) -> bytes:
    return instruction(0xB7, immediate=verdict) + instruction(0x95)


def counts(word: int) -> bytes:
    """Add 1 to a word of the value of MapSlot.HEARTBEATS; uses r1 and r2."""
    return b"".join(
        [
            instruction(0x18, 1, 2, immediate=MapSlot.HEARTBEATS) + instruction(0, immediate=8 * word),
            instruction(0xB7, 2, immediate=1),
            instruction(0xDB, 1, 2),  # lock *(u64 *)r1 += r2
        ]
    )


NOTHING_IN_R0 = Code(instruction(0x95))
"""Which the verifier refuses."""


def load(code: bytes = returns(PASS), name: str = "offramp_test") -> Program:
    return Program.load(Code(code), name=name, maps={})


def words(count: int) -> Map:
    return Map.create(MapType.ARRAY, 4, 8 * count, 1, MapFlag.MMAPABLE, "offramp_words")


def read_words(map: Map) -> tuple[int, ...]:
    return struct.unpack(f"{map.value_size // 8}Q", map.lookup(KEY))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
