# SPDX-License-Identifier: Apache-2.0
"""What programs are made from, and what comes out: plain values, deterministic, made without a kernel.

    Specs --xdp()-->    XdpProgram(code, references)  --bpf.bind(), bpf.Program.load()-->  a program in the kernel
    Body  --native()--> NativeProgram(code, state) --_native.Code()-->                  a function in this process

An XDP program's code has placeholders (placeholders.py). It has to be loaded as "Dual BSD/GPL": the kernel lets only
GPL-compatible programs call kernel functions.

Native code is position-independent and refers to nothing outside of itself. Its entry is its first byte:

    void run(const u8 *const *packets, const u32 *captured, const u32 *lengths, u64 n, u8 *verdicts,
             u8 *const *state)

`verdicts[i]` becomes the byte of the exit that packet i takes; by default, that is the exit's Verdict. Packet i has
`captured[i]` bytes in memory and `lengths[i]` bytes on the wire. `state` are the memories of NativeProgram.state, in
their order. The calling convention is that of C on Linux on that machine.

Sources: Documentation/bpf/standardization/instruction-set.rst, include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from typing import Final

from offramp.emit.body import Body
from offramp.emit.placeholders import KFUNC_BASE, KfuncSlot, MapSlot, Reference
from offramp.emit.size import Size, size, total
from offramp.emit.state import State
from offramp.errors import OptionError
from offramp.immutable import immutable
from offramp.lower.expression import Lowered
from offramp.verdict import Verdict

__all__ = ["COUNTERS", "KFUNC_BASE", "KfuncSlot", "MapSlot", "NativeProgram", "Reference", "Spec", "XdpProgram"]

COUNTERS: Final = (
    "seen",
    "protected",
    "claimed",
    "passed",
    "stalled",
    "redirect_failed",
    "missed_by_nic",
    "too_long",
)
"""u64 each, per CPU, in MapSlot.COUNTERS; a body's own counters come after them. Every packet counts in `seen` and in
exactly one of the others."""


@immutable
class Spec:
    """One XDP program, or a section of one.

    With `vlan_metadata` the program has to be loaded bound to its device, which must offer
    bpf_xdp_metadata_rx_vlan_tag (Linux 6.8).
    """

    body: Body
    protect: Lowered | None = None  # these packets pass before anything else, as they are in memory
    queues: int = 1  # CLAIM: the size of SOCKETS and HEARTBEATS; packets of higher queues find no socket
    stall_ns: int | None = None  # CLAIM: no verdict if the queue's heartbeat is older than this; None: never
    vlan_metadata: bool = False  # ask the driver for a VLAN tag out of band; it is part of the frame on the wire
    longest: int | None = None  # CLAIM: bytes that a socket takes; longer frames get no verdict; None: it takes all
    hidden_queue: int | None = None  # CLAIM: the NIC brings the flow there; elsewhere it is counted, without a verdict

    def __post_init__(self) -> None:
        if Verdict.ABORTED in self.verdicts:
            raise OptionError("verdict ABORTED", reason="it is for errors of a program", hint="use DROP")
        if self.body.exits[-1].verdict in (Verdict.CLAIM, Verdict.TX):
            raise OptionError("the last exit of a body", reason="its verdict must keep packets in the driver")
        if self.queues < 1:
            raise OptionError(f"queues={self.queues}", reason="an interface has at least one")
        if self.hidden_queue is not None and not 0 <= self.hidden_queue < self.queues:
            raise OptionError(f"hidden_queue={self.hidden_queue}", reason=f"not one of {self.queues} queues")
        if self.stall_ns is not None and not 0 < self.stall_ns < 1 << 63:
            raise OptionError(f"stall_ns={self.stall_ns}", reason="not a positive number of nanoseconds in 63 bits")

    @property
    def verdicts(self) -> frozenset[Verdict]:
        """The verdicts of its exits."""
        return frozenset(exit.verdict for exit in self.body.exits if exit.verdict is not None)

    @property
    def counters(self) -> tuple[str, ...]:
        """The names of the counters in MapSlot.COUNTERS."""
        return tuple(dict.fromkeys((*COUNTERS, *(exit.counter for exit in self.body.exits))))

    @property
    def size(self) -> Size:
        """How much of a program it takes."""
        return total(self.body.size, *([size(self.protect)] if self.protect is not None else []))


@immutable
class XdpProgram:
    """eBPF instructions, 8 bytes each, and what their placeholders stand for, by index."""

    code: bytes
    references: tuple[Reference, ...] = ()


@immutable
class NativeProgram:
    """Machine code for this CPU's architecture, and the state whose memory is passed to it."""

    code: bytes
    state: tuple[State, ...] = ()
