# SPDX-License-Identifier: Apache-2.0
"""Netlink attributes and the owners of XDP programs, as plain values."""

from __future__ import annotations

import struct

import pytest

from offramp.bpf.owner import Attached, Owner, attached_in
from offramp.syscalls import netlink


@pytest.mark.parametrize("payload", [b"", b"1", b"12", b"123", b"1234", b"12345"])
def test_attributes_survive_their_padding(payload: bytes) -> None:
    block = netlink.attribute(7, payload) + netlink.attribute(9, b"end")
    assert len(block) % 4 == 0
    assert netlink.attributes(block) == {7: payload, 9: b"end"}


def test_flags_of_the_type_are_not_its_number() -> None:
    assert netlink.attributes(netlink.attribute(0x8000 | 5, b"nest")) == {5: b"nest"}


def test_a_block_that_is_cut_off_ends_early() -> None:
    assert netlink.attributes(b"\x00\x00\x05\x00garbage") == {}
    assert netlink.attributes(b"\x08") == {}


def test_numbers_and_texts() -> None:
    assert netlink.unsigned(struct.pack("Q", 1 << 40)) == 1 << 40
    assert netlink.unsigned(b"\x07") == 7
    assert netlink.unsigned(None) == 0
    assert netlink.text(b"eth0\0") == "eth0"
    assert netlink.text(None) is None


def test_attached_programs_of_a_link() -> None:
    def link(*attributes: bytes) -> netlink.Attributes:
        return {43: b"".join(attributes)}

    native, generic = netlink.attribute(5, struct.pack("I", 12)), netlink.attribute(6, struct.pack("I", 13))
    assert attached_in({}) == ()
    assert attached_in(link(netlink.attribute(2, b"\0"))) == ()
    assert attached_in(link(netlink.attribute(2, b"\1"), native)) == (Attached("native", 12),)
    assert attached_in(link(native, generic)) == (Attached("native", 12), Attached("generic", 13))


def test_owners_in_words() -> None:
    held = "XDP program 12 'offramp_a' in native mode, held by"
    assert str(Owner(12, "offramp_a", 3, 4321, "python3", "native")) == f"{held} another offramp, python3 (pid 4321)"
    assert str(Owner(12, "offramp_a", 3, 4321, "this process", "native")) == f"{held} this process (pid 4321)"
    assert str(Owner(12, "cilium", 3, 4321, "agent")) == "XDP program 12 'cilium', held by agent (pid 4321)"
    assert str(Owner(12, "", None, None, None)) == "XDP program 12, held by no process that is visible here"
