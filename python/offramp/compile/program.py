# SPDX-License-Identifier: Apache-2.0
"""What an XDP program is made from, and what comes out: both plain values, deterministic, made without a kernel.

    Spec --xdp()--> Program(code) --bpf.Program.load()--> a program in the kernel

The code carries placeholders, so that it does not depend on descriptors or on the running kernel:

    map reference       ld_imm64, src_reg 1 (map) or 2 (the map's value), imm = a MapSlot
    kernel function     call, src_reg 0, imm = KFUNC_BASE + a KfuncSlot
                        to become src_reg 2 (BPF_PSEUDO_KFUNC_CALL), imm = the function's BTF id

The program is to be loaded as "Dual BSD/GPL": the kernel lets only GPL-compatible programs call kernel functions.

Sources: Documentation/bpf/standardization/instruction-set.rst, include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from offramp.compile.tests import All, Any, Const, Expr, Negate, Test
from offramp.errors import CompileError, OptionError
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.match.tree import Node

__all__ = ["COUNTERS", "KFUNC_BASE", "KfuncSlot", "MapSlot", "Program", "Spec", "xdp"]

COUNTERS: Final = ("seen", "protected", "claimed", "passed", "stalled", "redirect_failed")
"""u64 each, per CPU, in MapSlot.COUNTERS. Every packet counts in `seen` and in exactly one of the others."""

KFUNC_BASE: Final = 0x4F46_0000  # far above the numbers of helpers


_ALWAYS_FITS, _MAX_TESTS = 2048, 8192  # a program's branches reach 32,767 instructions; a test takes 3 to 12


class MapSlot(IntEnum):
    """The maps that a program refers to."""

    COUNTERS = 1  # PERCPU_ARRAY, one element: u64[len(COUNTERS)]
    SOCKETS = 2  # XSKMAP[queues], by rx_queue_index
    HEARTBEATS = 3  # ARRAY, BPF_F_MMAPABLE, one element: u64[queues], CLOCK_MONOTONIC in ns of each queue's reader


class KfuncSlot(IntEnum):
    """The kernel functions that a program calls: int return, pointer arguments."""

    RX_VLAN_TAG = 1  # bpf_xdp_metadata_rx_vlan_tag(ctx, __be16 *protocol, u16 *tci); 0: there is a tag


@dataclass(frozen=True)
class Spec:
    """One XDP program.

    A match may be given in its lowered form as well. With `vlan_metadata` the program has to be loaded bound to its
    device, which must offer bpf_xdp_metadata_rx_vlan_tag (Linux 6.8).
    """

    match: Node | Expr
    protect: Node | Expr | None  # packets passed before anything else, also behind one or two VLAN tags in the frame
    verdict: Verdict  # what happens to a matching packet
    queues: int  # CLAIM: the size of SOCKETS and HEARTBEATS; packets of queues beyond are passed
    stall_ns: int | None  # CLAIM: pass instead if the queue's heartbeat is older than this; None: never
    vlan_metadata: bool  # ask the driver for a VLAN tag out of band, which belongs to the frame on the wire

    def __post_init__(self) -> None:
        if self.verdict is Verdict.ABORTED:
            raise OptionError("verdict ABORTED", reason="it reports errors of a program", hint="use DROP")
        if self.queues < 1:
            raise OptionError(f"queues={self.queues}", reason="an interface has at least one")
        if self.stall_ns is not None and not 0 < self.stall_ns < 1 << 63:
            raise OptionError(f"stall_ns={self.stall_ns}", reason="not a positive number of nanoseconds in 63 bits")


@dataclass(frozen=True)
class Program:
    """eBPF instructions, 8 bytes each, with placeholders."""

    code: bytes


@lru_cache(maxsize=64)
def xdp(spec: Spec) -> Program:
    """Compile `spec`. The same spec gives the same bytes; the second time in a process it costs nothing.

    Takes about 0.1 s in a child process. Needs no privileges. Errors: CompileError (a bug in offramp, or no LLVM);
    OptionError where the match is too large for one program.
    """
    from offramp.compile.flow import build
    from offramp.compile.llvm import bpf_code

    match = _lowered(spec.match)
    protect = _lowered(spec.protect) if spec.protect is not None else None
    size = sum(_tests(expr) for expr in (match, protect) if expr is not None)
    if size > _MAX_TESTS:
        raise _too_large(size)
    try:
        return Program(bpf_code(build(spec, match, protect)))
    except CompileError as error:
        raise _too_large(size) if size > _ALWAYS_FITS else error from error


def _lowered(match: Node | Expr) -> Expr:
    if isinstance(match, Test | All | Any | Negate | Const):
        return match
    from offramp.compile.lower import lower

    return lower(match)


def _tests(expr: Expr) -> int:
    match expr:
        case All(parts) | Any(parts):
            return sum(_tests(part) for part in parts)
        case Negate(part):
            return _tests(part)
    return 1


def _too_large(size: int) -> OptionError:
    reason = f"{size} tests of packet bytes; up to {_ALWAYS_FITS} always fit, more than {_MAX_TESTS} never"
    return OptionError("the match is too large for one program", reason=reason, hint="use networks and port ranges")
