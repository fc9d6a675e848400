# SPDX-License-Identifier: Apache-2.0
"""A program as LLVM IR: for the driver (eBPF) or for this CPU. Pure: the same text each time.

    Spec: what is protected, a body, what its verdicts need       for the driver: xdp.py makes a program of them
    Body: asks about a packet, which leaves by one of its exits   for this CPU: burst.py loops over packets
    Exit: a verdict and a counter

    program.py         Spec, XdpProgram, NativeProgram: the values that go in and come out
    body.py            Body, Exit: what a new handler has to provide; match.py the body of a match
    state.py           the kinds of state that bodies refer to; sets/ is one
    placeholders.py    what code leaves open; bytecode.py the numbers of eBPF
    xdp.py             the XDP program around bodies: counters, protection, verdicts; vlan_tag.py tags beside the frame
    burst.py           the function around a body in user space
    decide.py          expressions -> branches
    values.py          values -> registers; tagged_values.py if a tag is beside the frame
    emitter.py         the pen that all of them write with: labels, loads, and what is known at each place
    intervals.py       what is known before a packet is seen
    size.py            what is too large for one program; limits.py the kernel's limits
    target.py          the differences between targets: addresses, barriers, calls

Sources: Documentation/bpf/standardization/instruction-set.rst; https://llvm.org/docs/LangRef.html.
"""
