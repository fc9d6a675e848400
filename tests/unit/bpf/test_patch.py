# SPDX-License-Identifier: Apache-2.0
"""Placeholders in compiled code become map descriptors and kfunc ids; nothing else changes."""

from __future__ import annotations

import pytest

from offramp.bpf import btf, programs
from offramp.emit.bytecode import instruction
from offramp.emit.program import KFUNC_BASE, KfuncSlot, MapSlot
from offramp.errors import NotSupported
from offramp.syscalls.bpf import check_name

RETURN = instruction(0x95)


@pytest.mark.parametrize("pseudo", [1, 2])
def test_map_slots_become_descriptors(pseudo: int) -> None:
    second_half = instruction(0, immediate=8)  # of a reference to the value: the offset into it
    code = instruction(0x18, 3, pseudo, immediate=MapSlot.SOCKETS) + second_half + RETURN
    expected = instruction(0x18, 3, pseudo, immediate=77) + second_half + RETURN
    assert programs.patch(code, {MapSlot.SOCKETS: 77, MapSlot.COUNTERS: 5}) == expected


def test_each_placeholder_becomes_its_descriptor() -> None:
    code = b"".join(instruction(0x18, 3, 2, immediate=n) + instruction(0) for n in range(2)) + RETURN
    expected = b"".join(instruction(0x18, 3, 2, immediate=90 + n) + instruction(0) for n in range(2)) + RETURN
    assert programs.patch(code, {0: 90, 1: 91, 2: 5}) == expected


def test_kfunc_slots_become_btf_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(btf, "function_id", {"bpf_xdp_metadata_rx_vlan_tag": 66153}.get)
    code = instruction(0x85, immediate=KFUNC_BASE + KfuncSlot.RX_VLAN_TAG) + RETURN
    assert programs.patch(code, {}) == instruction(0x85, 0, 2, immediate=66153) + RETURN


def test_a_kfunc_that_the_kernel_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(btf, "function_id", lambda name: None)
    with pytest.raises(NotSupported, match="bpf_xdp_metadata_rx_vlan_tag"):
        programs.patch(instruction(0x85, immediate=KFUNC_BASE + KfuncSlot.RX_VLAN_TAG), {})


def test_everything_else_stays() -> None:
    code = b"".join(
        [
            instruction(0x18, 1, 0, immediate=MapSlot.COUNTERS),  # a plain constant that looks like a slot,
            instruction(0x18, 0, 1, immediate=MapSlot.COUNTERS),  # and a second half that looks like a reference
            instruction(0x85, immediate=5),  # a helper
            instruction(0x85, 0, 1, immediate=KFUNC_BASE),  # a call of a subprogram
            instruction(0xB7, 0, immediate=2),
            RETURN,
        ]
    )
    assert programs.patch(code, {}) == code


def test_a_map_that_was_not_given() -> None:
    with pytest.raises(KeyError):
        programs.patch(instruction(0x18, 1, 1, immediate=MapSlot.COUNTERS) + instruction(0), {})


@pytest.mark.parametrize("name", ["", "offramp_rx", "a.b_9", "x" * 15])
def test_names_that_the_kernel_takes(name: str) -> None:
    assert check_name(name) == name.encode()


@pytest.mark.parametrize("name", ["x" * 16, "two words", "dash-ed", "naïve", "a\0b"])
def test_names_that_the_kernel_refuses(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        check_name(name)
