# SPDX-License-Identifier: Apache-2.0
"""An expression becomes LLVM IR: for the driver (eBPF) or for this CPU. Pure: the same text each time.

    xdp.py         the XDP program around matches: counters, protection, verdicts
    burst.py       the function around a match in user space: a loop over packets
    program.py     Spec, Program, NativeProgram: the values that go in and come out, and the placeholders in code
    decide.py      expressions -> branches
    values.py      values -> registers; where on the wire is where in memory
    lookup.py      membership in a set; memory.py how a set lies in memory
    emitter.py     the pen that all of them write with: labels, loads, and what is known where
    ranges.py      what is known before a packet is seen
    size.py        what is too large for one program
    target.py      what differs between targets: addresses, barriers, calls

Sources: Documentation/bpf/standardization/instruction-set.rst; https://llvm.org/docs/LangRef.html.
"""
