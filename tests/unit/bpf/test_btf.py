# SPDX-License-Identifier: Apache-2.0
"""The id of a function in BTF: each kind of record is stepped over by its right length."""

from __future__ import annotations

import struct

import pytest

from offramp.bpf import btf

# (kind, vlen, words after the first three), as in the kernel's documentation, "Type Encoding"
RECORDS = {
    "INT": (1, 0, 1),
    "PTR": (2, 0, 0),
    "ARRAY": (3, 0, 3),
    "STRUCT": (4, 5, 15),
    "UNION": (5, 2, 6),
    "ENUM": (6, 3, 6),
    "FWD": (7, 0, 0),
    "TYPEDEF": (8, 0, 0),
    "VOLATILE": (9, 0, 0),
    "CONST": (10, 0, 0),
    "RESTRICT": (11, 0, 0),
    "FUNC": (12, 1, 0),  # vlen is the linkage
    "FUNC_PROTO": (13, 4, 8),
    "VAR": (14, 0, 1),
    "DATASEC": (15, 2, 6),
    "FLOAT": (16, 0, 0),
    "DECL_TAG": (17, 0, 1),
    "TYPE_TAG": (18, 0, 0),
    "ENUM64": (19, 2, 6),
}


def record(name: int, kind: int, vlen: int = 0, extra: int = 0) -> bytes:
    return struct.pack("III", name, kind << 24 | vlen, 0) + bytes(4 * extra)


def blob(types: bytes, strings: bytes) -> bytes:
    return struct.pack("HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


@pytest.mark.parametrize("before", RECORDS)
def test_every_kind_is_stepped_over(before: str) -> None:
    types = record(0, *RECORDS[before]) * 2 + record(1, 12, 1) + record(0, 2)
    assert btf.find_function(blob(types, b"\0wanted\0"), "wanted") == 3


def test_only_functions_of_exactly_that_name() -> None:
    strings = b"\0unwanted\0wanted_too\0wanted\0"
    place = strings.index(b"\0wanted\0") + 1
    types = record(3, 12) + record(10, 12) + record(place, 4, 1, 3) + record(place, 12)
    assert btf.find_function(blob(types, strings), "wanted") == 4
    assert btf.find_function(blob(types, strings), "want") is None


def test_the_name_of_something_else() -> None:
    assert btf.find_function(blob(record(1, 4, 0), b"\0wanted\0"), "wanted") is None


def test_what_is_not_btf() -> None:
    with pytest.raises(ValueError, match="too short"):
        btf.find_function(b"", "wanted")
    with pytest.raises(ValueError, match="magic"):
        btf.find_function(bytes(24), "wanted")
    with pytest.raises(ValueError, match="unknown kind 31"):
        btf.find_function(blob(record(0, 31), b"\0wanted\0"), "wanted")


def test_a_kernel_without_btf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(btf, "VMLINUX", btf.VMLINUX / "absent")
    assert btf.function_id.__wrapped__("wanted") is None
