# SPDX-License-Identifier: Apache-2.0
"""Finds what offramp could leave behind: bpf objects, descriptors, mappings, XDP on an interface.

Numbers of bpf objects are valid in the whole system, and other tests may run beside this one. So an object counts as
left behind if it has offramp's name and no process holds it (`orphans`).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, cast

from offramp.bpf.descriptor import Descriptor
from offramp.bpf.owner import attached
from offramp.errors import KernelError
from offramp.syscalls.bpf import Command, bpf, info
from offramp.syscalls.kept import Kept
from offramp.testing import Interface

__all__ = ["Usage", "has_xdp", "kernel_objects", "orphans", "usage"]


class Kind(NamedTuple):
    """A kind of bpf object: its key in fdinfo, BPF_*_GET_NEXT_ID, BPF_*_GET_FD_BY_ID, offset of its name or None."""

    key: str
    next_id: int
    fd_by_id: int
    name_at: int | None


PROGRAM = Kind("prog_id", 11, 13, 64)
KINDS = (PROGRAM, Kind("map_id", 12, 14, 24), Kind("link_id", 31, 30, None))  # a link is called like its program


def has_xdp(interface: Interface) -> bool:
    with interface.host:
        return bool(attached(interface.ifindex))


def orphans() -> set[tuple[str, int]]:
    """offramp's bpf objects that nobody holds, by kind and number. The kernel frees the last ones
    with a short delay.
    """
    named = {(kind.key, number) for kind in KINDS for number in _numbers(kind) if _name(kind, number)[:7] == "offramp"}
    return named - _held()


def _numbers(kind: Kind) -> Iterator[int]:
    number = 0
    while True:
        attributes = bytearray(struct.pack("III", number, 0, 0))
        block = (ctypes.c_char * len(attributes)).from_buffer(attributes)
        try:
            bpf(cast(Command, kind.next_id), block, f"the {kind.key} after {number}")
        except KernelError:
            return
        number = struct.unpack_from("I", attributes, 4)[0]
        yield number


def _name(kind: Kind, number: int) -> str:
    with suppress(KernelError), Descriptor(Kept()) as fd:
        bpf(cast(Command, kind.fd_by_id), struct.pack("I", number), "by id", fd._kept)
        if kind.name_at is None:
            return _name(PROGRAM, struct.unpack_from("III", info(fd.fd, 24, "about a link"))[2])
        return info(fd.fd, 80, f"about {kind.key} {number}")[kind.name_at :][:16].split(b"\0")[0].decode()
    return ""


def _held() -> set[tuple[str, int]]:
    """The objects that some process has a descriptor of."""
    found = set()
    for fdinfo in Path("/proc").glob("[0-9]*/fdinfo/*"):
        with suppress(OSError):
            for line in fdinfo.read_text().splitlines():
                key, _, value = line.partition(":\t")
                if key in ("prog_id", "map_id", "link_id"):
                    found.add((key, int(value)))
    return found


def kernel_objects(pid: int | str = "self") -> list[str]:
    """The process's descriptors and mappings of bpf objects and sockets."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    found += [line.split(None, 5)[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return sorted(name for name in found if name.startswith(("anon_inode:bpf", "anon_inode:[bpf", "socket:")))


class Usage(NamedTuple):
    """What a process uses."""

    descriptors: int
    threads: int
    mappings: int
    resident: int  # KiB
    size: int  # KiB


def usage() -> Usage:
    """What this process uses now."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Usage(
        len(os.listdir("/proc/self/fd")),
        int(status["Threads"]),
        Path("/proc/self/maps").read_text().count("\n"),
        int(status["VmRSS"].split()[0]),
        int(status["VmSize"].split()[0]),
    )
