# SPDX-License-Identifier: Apache-2.0
"""A stranger who looks in: a program that runs whenever another one is entered, as those of bpftrace and xdpdump do."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from offramp.bpf import Map, btf
from offramp.bpf.programs import patch
from offramp.emit.bytecode import instruction
from offramp.emit.program import MapSlot
from offramp.errors import OfframpError
from offramp.syscalls.bpf import Command, bpf, buffer, info
from offramp.syscalls.kept import Kept
from tests.rigs.bytecode import returns, words

__all__ = ["fentry", "types_of"]

_PROG_TYPE_TRACING, _TRACE_FENTRY = 26, 24
_BTF_ID_AT = 128  # in struct bpf_prog_info
_WORDS = instruction(0x18, 1, 2, immediate=MapSlot.HEARTBEATS)  # r1 = &words
_CODE = b"".join(
    [
        instruction(0x79, 3, 1),  # r3 = the argument: struct xdp_buff, as the kernel has it
        instruction(0x79, 6, 3, offset=8),  # r6 = r3->data_end
        instruction(0x79, 4, 3),  # r4 = r3->data
        instruction(0x1F, 6, 4),  # r6 -= r4
        _WORDS + instruction(0),
        instruction(0xB7, 2, immediate=1),
        instruction(0xDB, 1, 2),  # lock *(u64 *)r1 += 1
        _WORDS + instruction(0, immediate=8),
        instruction(0xDB, 1, 6),  # lock *(u64 *)r1 += r6
        returns(0),
    ]
)


def types_of(program: int) -> bytes:
    """The BTF of a program, as the kernel gives it back."""
    (number,) = struct.unpack_from("I", info(program, _BTF_ID_AT + 4), _BTF_ID_AT)
    types, content = Kept(), ctypes.create_string_buffer(1 << 16)
    bpf(Command.BTF_GET_FD_BY_ID, struct.pack("I", number), kept=types)
    about = buffer(struct.pack("QII", ctypes.addressof(content), len(content), 0))
    bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("IIQ", types[0], len(about), ctypes.addressof(about)))
    return content.raw[: struct.unpack_from("I", about, 8)[0]]


@contextmanager
def fentry(program_id: int, function: str) -> Iterator[Map]:
    """Its words: how often the function was entered, and the sum of the packets' lengths."""
    target, tracing, link = Kept(), Kept(), Kept()
    bpf(Command.PROG_GET_FD_BY_ID, struct.pack("I", program_id), kept=target)
    number = btf.find_function(types_of(target[0]), function)
    assert number is not None, function
    with words(2) as seen:
        code = buffer(patch(_CODE, {MapSlot.HEARTBEATS: seen.fd}))
        licence, log = buffer(b"GPL\0"), ctypes.create_string_buffer(1 << 16)
        head = struct.pack(
            "IIQQIIQII16sII",
            _PROG_TYPE_TRACING,
            len(code) // 8,
            ctypes.addressof(code),
            ctypes.addressof(licence),
            1,
            len(log),
            ctypes.addressof(log),
            0,
            0,
            b"stranger",
            0,
            _TRACE_FENTRY,
        )
        try:
            bpf(Command.PROG_LOAD, head + struct.pack("36xII", number, target[0]), kept=tracing)
        except OfframpError as error:
            raise AssertionError(log.value.decode()) from error
        try:
            bpf(Command.RAW_TRACEPOINT_OPEN, struct.pack("QI4x", 0, tracing[0]), kept=link)
            yield seen
        finally:
            for each in (link, tracing, target):
                each.close()
