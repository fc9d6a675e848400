# SPDX-License-Identifier: Apache-2.0
"""The parts of eBPF that offramp knows by number. LLVM knows the rest.

Sources: Documentation/bpf/standardization/instruction-set.rst, include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

__all__ = [
    "CALL",
    "EXIT",
    "JA",
    "LD_IMM64",
    "MOV64_IMM",
    "PSEUDO_KFUNC_CALL",
    "PSEUDO_MAP_FD",
    "PSEUDO_MAP_VALUE",
    "Helper",
    "instruction",
]

LD_IMM64: Final = 0x18  # it is two instructions long
MOV64_IMM: Final = 0xB7
JA: Final = 0x05
CALL: Final = 0x85
EXIT: Final = 0x95

PSEUDO_MAP_FD: Final = 1  # src_reg of an ld_imm64: the map with this descriptor
PSEUDO_MAP_VALUE: Final = 2  # the address of the value of an array map's only element
PSEUDO_KFUNC_CALL: Final = 2  # src_reg of a call: the kernel function with this BTF id


class Helper(IntEnum):
    """Numbers of the kernel's helper functions."""

    MAP_LOOKUP_ELEM = 1
    REDIRECT = 23
    XDP_ADJUST_HEAD = 44
    REDIRECT_MAP = 51
    KTIME_GET_COARSE_NS = 160  # Linux 5.11; CLOCK_MONOTONIC at the last tick, 18 ns cheaper than the exact clock


def instruction(opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """One, as the kernel of this machine reads it. The second half of an ld_imm64 has opcode 0."""
    return struct.pack("BBhi", opcode, destination | source << 4, offset, immediate)
