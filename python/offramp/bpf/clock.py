# SPDX-License-Identifier: Apache-2.0
"""The clock that programs read, from the inside of a time namespace.

bpf_ktime_get_coarse_ns is the machine's CLOCK_MONOTONIC_COARSE. A process in a time namespace reads the same clock with
an offset of its namespace. /proc/self/timens_offsets is about the namespace of children, which may be another one. So
the kernel is asked, by a program that puts its time into a packet.

    this process's clock      program's clock      this process's clock again

If both readings of ours are the same, the clock has not ticked between them, and the difference is exact.
Sources: time_namespaces(7); include/linux/proc_ns.h (PROC_TIME_INIT_INO).
"""

from __future__ import annotations

import os
import struct
import time
from typing import Final

from offramp.bpf.programs import Program
from offramp.emit.bytecode import Helper, instruction
from offramp.emit.program import XdpProgram

__all__ = ["machine_is_ahead", "measure"]

_COARSE: Final = 6  # CLOCK_MONOTONIC_COARSE
_OF_THE_MACHINE: Final = 0xEFFF_FFFA  # the inode of the first time namespace
_TRIES: Final = 100
_FRAME: Final = bytes(64)
_PASS: Final = 2

_TELLS_TIME = XdpProgram(
    b"".join(
        [
            instruction(0xBF, 6, 1),  # r6 = context
            instruction(0x85, immediate=Helper.KTIME_GET_COARSE_NS),
            instruction(0x61, 2, 6, offset=0),  # r2 = data
            instruction(0x61, 3, 6, offset=4),  # r3 = data_end
            instruction(0xBF, 4, 2),
            instruction(0x07, 4, immediate=8),
            instruction(0x2D, 4, 3, offset=1),  # the verifier wants to know that 8 bytes are there
            instruction(0x7B, 2, 0),  # *(u64 *)data = r0
            instruction(0xB7, immediate=_PASS),
            instruction(0x95),
        ]
    )
)


def machine_is_ahead() -> int:
    """How many nanoseconds the machine's monotonic clock is ahead of this process's. It is 0 outside of time
    namespaces, which costs one stat(2).

    Needs CAP_BPF and CAP_NET_ADMIN in a time namespace. Errors: PrivilegeError, KernelError.
    """
    try:
        if os.stat("/proc/self/ns/time").st_ino == _OF_THE_MACHINE:
            return 0
    except OSError:  # no /proc here, or that of another PID namespace
        pass
    return measure()


def measure() -> int:
    """The same, asked of a program."""
    ahead = 0
    with Program.load(_TELLS_TIME, name="offramp_clock", maps={}) as program:
        for _ in range(_TRIES):
            before = time.clock_gettime_ns(_COARSE)
            (machine,) = struct.unpack_from("Q", program.test_run(_FRAME).data)
            ahead = machine - before
            if time.clock_gettime_ns(_COARSE) == before:
                break
    return ahead
