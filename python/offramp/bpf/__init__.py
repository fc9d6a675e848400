# SPDX-License-Identifier: Apache-2.0
"""Maps, programs and links: this room puts compiled programs into the kernel, and only this room uses bpf(2).

    descriptor.py   every kernel object here is one owned file descriptor
    maps.py         memory shared by programs, sockets and Python
    programs.py     placeholders patched, loaded, test-run
    loading.py      BPF_PROG_LOAD, and what the verifier says
    references.py   what the placeholders stand for
    links.py        a program attached to an interface for as long as a descriptor lives
    owner.py        who has attached what to an interface
    btf.py          ids of kernel functions (kfuncs)
    clock.py        the clock that programs read, as seen from a time namespace
    debug_info.py   what a program tells whoever looks in
    probe.py        what this kernel can do, found by trying

The system call itself is in syscalls/bpf.py.

Every object is a descriptor: `close()` it, or use it as a context manager. A forgotten one is closed with a
ResourceWarning. Nothing is ever pinned to a file system, so nothing outlives the process.

Source: bpf(2), https://docs.kernel.org/bpf/, include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from offramp.bpf.links import LinkInfo, XdpLink, XdpMode
from offramp.bpf.maps import GracePeriod, Map, MapFlag, MapType, UpdateFlag
from offramp.bpf.programs import Program, TestRun, xdp_context
from offramp.bpf.references import Scope, bind

__all__ = [
    "GracePeriod",
    "LinkInfo",
    "Map",
    "MapFlag",
    "MapType",
    "Program",
    "Scope",
    "TestRun",
    "UpdateFlag",
    "XdpLink",
    "XdpMode",
    "bind",
    "xdp_context",
]
