# SPDX-License-Identifier: Apache-2.0
"""A match to machine code. Pure: no kernel, no interface, the same bytes each time; LLVM runs in a child process.

    match tree --lower--> expression --flow, emit, target--> LLVM IR --llvm, worker--> eBPF with placeholders

    tests.py     the lowered form: boolean expressions over tests of packet bytes, and their reference meaning
    lower.py     tree -> lowered form: here lives tcpdump's meaning
    program.py   Spec -> Program, the values that go in and come out
    flow.py      the XDP program around the match: counters, protection, verdict
    emit.py      lowered form -> LLVM IR, one emitter for all targets
    target.py    what differs between targets: prologue, addresses, barriers, calls
    llvm.py      LLVM IR -> code, in a child process
    worker.py    that process

Sources: Documentation/bpf/standardization/instruction-set.rst; https://llvm.org/docs/LangRef.html.
"""

from __future__ import annotations

from offramp.compile.program import COUNTERS, KFUNC_BASE, KfuncSlot, MapSlot, Program, Spec, xdp

__all__ = ["COUNTERS", "KFUNC_BASE", "KfuncSlot", "MapSlot", "Program", "Spec", "xdp"]
