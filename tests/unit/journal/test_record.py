# SPDX-License-Identifier: Apache-2.0
"""What a journal says: what is written is read back, and nothing else is read at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from offramp.errors import JournalError
from offramp.facts.knobs import Value
from offramp.journal.record import MOST_BYTES, Changed, Record, decode, encode, short
from offramp.text import decoded
from tests.rigs.journals import identity

CHANGES = (
    Changed("mtu", 1500, 3000),
    Changed("rss.table", [0, 1], [0, 0], pending=True),
    Changed("feature.rx-gro", True, False, reason="setting: EIO"),
    Changed("channels", {"rx": 0, "tx": 0, "combined": 8}, {"rx": 0, "tx": 0, "combined": 4}),
    Changed("pci.driver", "igb", None),
)
RECORD = Record(identity(), 9, 4321, "offramp", 81234567890, False, CHANGES)


def refused(content: bytes) -> str:
    with pytest.raises(JournalError) as caught:
        decode(content, "a journal")
    assert str(caught.value).startswith("a journal: ")
    assert "nothing in it is restored" in str(caught.value)
    return caught.value.reason


def altered(alter: Callable[[Any], object]) -> bytes:
    content = json.loads(encode(RECORD))
    alter(content)
    return json.dumps(content).encode()


def test_what_is_written_is_read() -> None:
    assert decode(encode(RECORD), "it") == RECORD


def test_one_line_for_each_change() -> None:
    lines = encode(RECORD).decode().splitlines()
    assert lines[1] == ' "offramp journal": 1,'
    assert sum('"knob"' in line for line in lines) == len(CHANGES)


@given(some.integers(0, 2**31 - 1), some.integers(0, 2**31 - 1), some.booleans(), some.booleans())
def test_any_numbers(before: int, after: int, pending: bool, kept: bool) -> None:
    record = Record(identity(), 9, 1, "x", 0, kept, (Changed("mtu", before, after, pending),))
    assert decode(encode(record), "it") == record


def test_cut_off_anywhere() -> None:
    content = encode(RECORD).rstrip()
    for length in range(len(content)):
        refused(content[:length])


def test_any_byte_changed() -> None:
    """It is refused, or is a journal still; never anything else."""
    content = encode(RECORD)
    for place in range(len(content)):
        forged = bytearray(content)
        forged[place] ^= 0x10
        try:
            decode(bytes(forged), "it")
        except JournalError:
            continue


@given(some.binary(max_size=200))
def test_noise(content: bytes) -> None:
    refused(content)


@given(some.recursive(some.none() | some.booleans() | some.integers() | some.floats() | some.text(), some.lists))
def test_other_json(content: Any) -> None:
    refused(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (lambda it: it.pop("offramp journal"), "not a journal of offramp"),
        (
            lambda it: it.update({"offramp journal": 2}),
            "version 2 of the format; this version of offramp reads version 1",
        ),
        (lambda it: it.update({"offramp journal": 0}), "version 0"),
        (lambda it: it.update({"offramp journal": True}), "not a journal"),
        (lambda it: it.update({"offramp journal": "1"}), "not a journal"),
        (lambda it: it.pop("kept"), "other fields"),
        (lambda it: it.update(extra=1), "other fields than .*: extra"),
        (lambda it: it.update(kept=0), "kept is not of type bool"),
        (lambda it: it.update(moment=-1), "moment is out of range"),
        (lambda it: it.update(moment=1 << 64), "moment is out of range"),
        (lambda it: it.update(moment=1.5), "moment is not of type int"),
        (lambda it: it.update(changes=[]), "0 changes"),
        (lambda it: it.update(changes=it["changes"] * 5000), "25000 changes"),
        (lambda it: it.update(changes={}), "changes is not of type list"),
        (lambda it: it.update(changes=[[]]), "a change is not an object"),
        (lambda it: it.update(device=None), "device is not of type dict"),
        (lambda it: it["device"].pop("bus"), "device has other fields"),
        (lambda it: it["device"].update(ifindex="2"), "ifindex is not of type int"),
        (lambda it: it["device"].update(ifindex=True), "ifindex is not of type int"),
        (lambda it: it["device"].update(name="eth0\n"), "name is not the name of an interface"),
        (lambda it: it["device"].update(name="x" * 16), "name is not the name of an interface"),
        (lambda it: it["owner"].update(pid=None), "pid is not of type int"),
        (lambda it: it["owner"].update(uid=0), "owner has other fields"),
        (lambda it: it["changes"][0].update(knob="mtu2"), "knob 'mtu2'"),
        (lambda it: it["changes"][0].update(knob="../../etc/passwd"), "offramp does not change such a setting"),
        (lambda it: it["changes"][0].update(knob="driver_override"), "does not change such a setting"),
        (lambda it: it["changes"][0].update(knob=["mtu"]), "knob is not of type str"),
        (lambda it: it["changes"][0].update(before="1500"), "mtu='1500'"),
        (lambda it: it["changes"][0].update(before=True), "mtu=True"),
        (lambda it: it["changes"][0].update(before=-1), "mtu=-1"),
        (lambda it: it["changes"][0].update(after=[1500]), "mtu="),
        (lambda it: it["changes"][0].update(after={"$": 1}), "mtu="),
        (lambda it: it["changes"][0].update(pending=None), "pending is not of type bool"),
        (lambda it: it["changes"][0].update(reason="\n"), "reason is not printable text"),
        (lambda it: it["changes"][0].update(run="rm"), "a change has other fields"),
        (lambda it: it["changes"][1].update(after=[0, "1"]), "rss.table="),
        (lambda it: it["changes"][1].update(after=[0] * 100_000), "rss.table="),
    ],
)
def test_anything_else_is_refused(alter: Callable[[Any], object], reason: str) -> None:
    assert re.search(reason, refused(altered(alter)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON, or cut off"),
        (b"[" * 100_000, "not JSON, or cut off"),
        (b'{"a":' * 100_000, "not JSON, or cut off"),
        (b"\xff\xfe{}", "not JSON"),
        (b"9" * 10_000, "not JSON"),
        (b"null", "not a journal of offramp"),
        (b"NaN", "NaN is not allowed"),
        (b'{"offramp journal": 1, "offramp journal": 1}', "a key occurs twice"),
        (b" " * (MOST_BYTES + 1), "more than"),
    ],
)
def test_not_even_json(content: bytes, reason: str) -> None:
    assert reason in refused(content)


def test_a_key_twice_in_depth() -> None:
    content = encode(RECORD).replace(b'"pid": 4321', b'"pid": 1, "pid": 4321')
    assert refused(content) == "a key occurs twice"


def test_too_much_to_be_read_back_is_not_written() -> None:
    many = (Changed("rss.table", [0] * 1000, [1] * 1000),) * 3000
    with pytest.raises(JournalError, match="3000 changes are too many"):
        encode(Record(identity(), 9, 1, "x", 0, False, many))


@given(some.binary(max_size=15))
def test_the_name_of_an_interface_is_read_back_if_the_kernel_allows_it(raw: bytes) -> None:
    """net/core/dev.c, dev_valid_name."""
    record = Record(identity(name=decoded(raw)), 9, 4321, "offramp", 5, False, CHANGES)
    if set(raw) & set(b"\0/:\t\n\v\f\r \xa0") or raw in (b".", b".."):
        assert "not the name of an interface" in refused(encode(record))
    else:
        assert decode(encode(record), "it") == record
        assert encode(record).isascii()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "on"),
        (False, "off"),
        (1500, "1500"),
        ("sdfn", "sdfn"),
        ([0, 1, 0, 1], "0 1 0 1"),
        ([0] * 64 + [1] * 63 + [0], "0 (64 times) 1 (63 times) 0"),
        (list(range(128)), "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 2..."),
        ({"rx": 0, "tx": 0, "combined": 2}, "rx 0 tx 0 combined 2"),
    ],
)
def test_a_value_in_a_line(value: Value, text: str) -> None:
    assert short(value) == text
