# SPDX-License-Identifier: Apache-2.0
"""The ids of kernel functions, from the kernel's own type information (BTF).

A program calls a kernel function (kfunc) by the number of its FUNC type in vmlinux's BTF. This is its position in a
list of about 100,000 records of different lengths. So we find the name in the string section, then walk the records.

    header | types: (name, info, size/type) + extra words by kind ... | strings: NUL-terminated
             id 1, id 2, ...                                             names are offsets into this

This takes tens of milliseconds and some MB while it runs; only the answers are kept. It needs no privileges.
Source: https://docs.kernel.org/bpf/btf.html, sections "Type Encoding" and "ELF File Format Interface".
"""

from __future__ import annotations

import struct
from array import array
from functools import cache
from pathlib import Path

from offramp.syscalls.failure import if_there
from offramp.syscalls.procfs import raw

__all__ = ["FUNC", "HEADER", "MAGIC", "VMLINUX", "find_function", "function_id"]

VMLINUX = Path("/sys/kernel/btf/vmlinux")

MAGIC = 0xEB9F
FUNC = 12  # the kind
HEADER = struct.Struct("HBBIIIII")  # magic, version, flags, header length, type offset, length, string offset, length

# The number of 32-bit words after a record's first three: _FIXED[kind] + _EACH[kind] * vlen.
#          kind:  - INT PTR ARRAY STRUCT UNION ENUM FWD TYPEDEF VOLATILE CONST RESTRICT FUNC FUNC_PROTO VAR DATASEC
_FIXED = (0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0)
_EACH = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)
#                                                          ... FLOAT (16), DECL_TAG (17), TYPE_TAG (18), ENUM64 (19)


@cache
def function_id(name: str) -> int | None:
    """The BTF id of the running kernel's function `name`; None if it has none, or no BTF at all."""
    with if_there(f"reading {VMLINUX}"):
        return find_function(raw(VMLINUX), name)
    return None


def find_function(blob: bytes, name: str) -> int | None:
    """The id of the FUNC called `name` in a BTF blob; None if there is none. ValueError if it cannot be read."""
    if len(blob) < HEADER.size:
        raise ValueError("not BTF: too short")
    magic, _, _, header, type_offset, type_length, string_offset, string_length = HEADER.unpack_from(blob)
    if magic != MAGIC:
        raise ValueError(f"not BTF of this machine's byte order: magic {magic:#06x}")
    strings = header + string_offset
    place = blob.find(b"\0" + name.encode() + b"\0", strings, strings + string_length)
    if place < 0:
        return None
    types = header + type_offset
    words = array("I", blob[types : types + type_length])
    return _walk(words, place + 1 - strings)


def _walk(words: array[int], wanted_name: int) -> int | None:
    """The number of the FUNC record whose name is at `wanted_name`. This is the hot loop: about 100,000 turns."""
    position, number, end = 0, 1, len(words)
    fixed, each = [extra + 3 for extra in _FIXED], _EACH
    while position < end:
        info = words[position + 1]
        kind = info >> 24 & 0x1F
        if kind == FUNC and words[position] == wanted_name:
            return number
        if kind >= len(each):
            raise ValueError(f"BTF record {number} is of unknown kind {kind}")
        position += fixed[kind] + each[kind] * (info & 0xFFFF)
        number += 1
    return None
