# SPDX-License-Identifier: Apache-2.0
"""A match to machine code. Pure: no kernel, no interface, the same bytes each time; LLVM runs in a child process.

    match tree --lower--> expression --decide, values--> LLVM IR --llvm, worker--> eBPF with placeholders | native code

    expression.py  the lowered form: boolean expressions over numbers read from a packet, and their reference meaning
    shapes.py      what compiled code has to know of a set
    lower.py       tree -> lowered form: here lives tcpdump's meaning
    program.py     Specs -> Program, Lowered -> NativeProgram: the values that go in and come out
    fit.py         what is too large for one program
    flow.py        the XDP program around the match: counters, protection, verdict
    burst.py       the function around the match in user space: a loop over packets
    decide.py      expressions -> branches
    values.py      values -> registers; where on the wire is where in memory
    lookup.py      membership in a set
    emit.py        the pen they write with: labels, loads, and what is known where
    ranges.py      what is known before a packet is seen
    target.py      what differs between targets: addresses, barriers, calls
    llvm.py        LLVM IR -> code, in a child process
    worker.py      that process

Sources: Documentation/bpf/standardization/instruction-set.rst; https://llvm.org/docs/LangRef.html.
"""

from __future__ import annotations

from offramp.compile.program import (
    COUNTERS,
    KFUNC_BASE,
    SET_BASE,
    KfuncSlot,
    MapSlot,
    NativeProgram,
    Program,
    Spec,
    native,
    slot,
    xdp,
)

__all__ = [
    "COUNTERS",
    "KFUNC_BASE",
    "SET_BASE",
    "KfuncSlot",
    "MapSlot",
    "NativeProgram",
    "Program",
    "Spec",
    "native",
    "slot",
    "xdp",
]
