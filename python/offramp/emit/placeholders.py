# SPDX-License-Identifier: Apache-2.0
"""Placeholders: what code leaves open, so that it does not depend on descriptors or on the running kernel.

    instruction   src_reg             imm                        what takes its place when the program is loaded
    ld_imm64      PSEUDO_MAP_FD       index of a Reference       imm: the map's descriptor
    ld_imm64      PSEUDO_MAP_VALUE    index of a Reference       imm: the descriptor of the map that is the memory
    call          0                   KFUNC_BASE + KfuncSlot     imm: the function's BTF id; src_reg: PSEUDO_KFUNC_CALL

Source: Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Generic, NamedTuple, TypeVar

from offramp.emit.state import State

__all__ = ["KFUNC_BASE", "KfuncSlot", "MapSlot", "Module", "Reference"]

KFUNC_BASE: Final = 0x4F46_0000  # far above the numbers of helpers

_Reference = TypeVar("_Reference")


class MapSlot(IntEnum):
    """The maps that each section of a program has of its own."""

    COUNTERS = 1  # PERCPU_ARRAY, one element: u64[len(Spec.counters)]
    SOCKETS = 2  # XSKMAP[queues], by rx_queue_index
    HEARTBEATS = 3  # ARRAY, BPF_F_MMAPABLE, one element: u64[queues], each reader's time: bpf/clock.py


class KfuncSlot(IntEnum):
    """The kernel functions that a program calls: int return, pointer arguments."""

    RX_VLAN_TAG = 1  # bpf_xdp_metadata_rx_vlan_tag(ctx, __be16 *protocol, u16 *tci); 0: there is a tag


class Reference(NamedTuple):
    """What a placeholder stands for: a map of the section's own, or the memory of state that it refers to."""

    section: int
    what: MapSlot | State


class Module(NamedTuple, Generic[_Reference]):
    """LLVM IR, and what its placeholders stand for."""

    text: str
    references: tuple[_Reference, ...]
