# SPDX-License-Identifier: Apache-2.0
"""What programs are made from, and what comes out: plain values, deterministic, made without a kernel.

    Specs   --xdp()-->    Program(code, sections)     --bpf.Program.load()-->  a program in the kernel
    Lowered --native()--> NativeProgram(code, sets)   --_native.Code()-->      a function in this process

An XDP program's code carries placeholders, so that it does not depend on descriptors or on the running kernel:

    map reference       ld_imm64, src_reg 1 (map) or 2 (the map's value), imm = slot(section, a MapSlot)
    memory of a set     ld_imm64, src_reg 2, imm = SET_BASE + its index in Program.sets
    kernel function     call, src_reg 0, imm = KFUNC_BASE + a KfuncSlot
                        to become src_reg 2 (BPF_PSEUDO_KFUNC_CALL), imm = the function's BTF id

The program is to be loaded as "Dual BSD/GPL": the kernel lets only GPL-compatible programs call kernel functions.

Native code is position-independent and refers to nothing outside of itself. Its entry is its first byte:

    void match(const u8 *const *packets, const u32 *captured, const u32 *lengths, u64 n, u8 *verdicts,
               const u8 *const *sets)

`verdicts[i]` becomes 1 if packet i matches, else 0, by its `captured[i]` bytes in memory and its length on the wire.
`sets` are the memories of NativeProgram.sets, in their order. The C calling convention of Linux on that machine.

Sources: Documentation/bpf/standardization/instruction-set.rst, include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from offramp.errors import OptionError
from offramp.lower.expression import Lowered, SetUse
from offramp.verdict import Verdict

__all__ = [
    "COUNTERS",
    "KFUNC_BASE",
    "SET_BASE",
    "KfuncSlot",
    "MapSlot",
    "NativeProgram",
    "Program",
    "Spec",
    "slot",
]

COUNTERS: Final = ("seen", "protected", "claimed", "passed", "stalled", "redirect_failed", "missed_by_nic")
"""u64 each, per CPU, in MapSlot.COUNTERS. Every packet counts in `seen` and in exactly one of the others."""

KFUNC_BASE: Final = 0x4F46_0000  # far above the numbers of helpers
SET_BASE: Final = 256  # above all slots; ARRAY, BPF_F_MMAPABLE, one element: the memory of a set

_SLOTS = 4  # of a section


class MapSlot(IntEnum):
    """The maps that a program refers to."""

    COUNTERS = 1  # PERCPU_ARRAY, one element: u64[len(COUNTERS)]
    SOCKETS = 2  # XSKMAP[queues], by rx_queue_index
    HEARTBEATS = 3  # ARRAY, BPF_F_MMAPABLE, one element: u64[queues], CLOCK_MONOTONIC in ns of each queue's reader


def slot(section: int, kind: MapSlot) -> int:
    """The placeholder of a section's map."""
    return _SLOTS * section + kind


class KfuncSlot(IntEnum):
    """The kernel functions that a program calls: int return, pointer arguments."""

    RX_VLAN_TAG = 1  # bpf_xdp_metadata_rx_vlan_tag(ctx, __be16 *protocol, u16 *tci); 0: there is a tag


@dataclass(frozen=True)
class Spec:
    """One XDP program, or a section of one.

    With `vlan_metadata` the program has to be loaded bound to its device, which must offer
    bpf_xdp_metadata_rx_vlan_tag (Linux 6.8).
    """

    match: Lowered
    protect: Lowered | None  # packets passed before anything else, as they are in memory
    verdict: Verdict  # what happens to a matching packet
    queues: int  # CLAIM: the size of SOCKETS and HEARTBEATS; packets of queues beyond are passed
    stall_ns: int | None  # CLAIM: pass instead if the queue's heartbeat is older than this; None: never
    vlan_metadata: bool  # ask the driver for a VLAN tag out of band, which belongs to the frame on the wire
    hidden_queue: int | None = None  # CLAIM: the NIC brings the flow there; elsewhere it is counted, and passed

    def __post_init__(self) -> None:
        if self.verdict is Verdict.ABORTED:
            raise OptionError("verdict ABORTED", reason="it reports errors of a program", hint="use DROP")
        if self.queues < 1:
            raise OptionError(f"queues={self.queues}", reason="an interface has at least one")
        if self.hidden_queue is not None and not 0 <= self.hidden_queue < self.queues:
            raise OptionError(f"hidden_queue={self.hidden_queue}", reason=f"not one of {self.queues} queues")
        if self.stall_ns is not None and not 0 < self.stall_ns < 1 << 63:
            raise OptionError(f"stall_ns={self.stall_ns}", reason="not a positive number of nanoseconds in 63 bits")

    @property
    def parts(self) -> tuple[Lowered, ...]:
        """In the order in which their sets are numbered."""
        return (self.match, self.protect) if self.protect is not None else (self.match,)


@dataclass(frozen=True)
class Program:
    """eBPF instructions, 8 bytes each, with placeholders, and the sets whose memory they read, by section."""

    code: bytes
    sections: tuple[tuple[SetUse, ...], ...] = ()

    @property
    def sets(self) -> tuple[SetUse, ...]:
        """Of all sections."""
        return sum(self.sections, ())


@dataclass(frozen=True)
class NativeProgram:
    """Machine code of this CPU's architecture, and the sets whose memory it reads."""

    code: bytes
    sets: tuple[SetUse, ...] = ()
