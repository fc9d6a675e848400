# SPDX-License-Identifier: Apache-2.0
"""Who attached the XDP program that an interface runs: program, link, process.

    interface ──IFLA_XDP──> program id ──fdinfo──> the process that holds a link or the program open

A link (struct bpf_link) lives as long as a descriptor of it, so the process that has one is the owner. A program that
was attached by netlink (`ip link set dev X xdp ...`) belongs to nobody: no process has to hold it.

Names need CAP_SYS_ADMIN (BPF_PROG_GET_FD_BY_ID), and other users' descriptors need CAP_SYS_PTRACE. What cannot be read
is left out, never guessed. Source: tools/bpf/bpftool (the same search), Documentation/filesystems/proc.rst section 3.8.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from offramp.errors import KernelError
from offramp.facts.link import THIS_PROCESS, owned
from offramp.immutable import immutable
from offramp.syscalls import netlink
from offramp.syscalls.bpf import Command, bpf, info
from offramp.syscalls.failure import if_there
from offramp.syscalls.kept import Kept
from offramp.syscalls.procfs import Process, command, processes
from offramp.text import printable, terminated

__all__ = ["Attached", "Owner", "attached", "attached_in", "describe", "owner", "program_name"]

_IFLA_XDP = 43
_PATIENCE = 1.0  # seconds; a process may have a million descriptors
_BPF = ("anon_inode:bpf", "anon_inode:[bpf")
_MODES = {5: "native", 6: "generic", 7: "offload"}  # IFLA_XDP_{DRV,SKB,HW}_PROG_ID -> our word


@immutable
class Attached:
    """An XDP program on an interface: how it runs there, and its number in the system."""

    mode: str  # "native", "generic" or "offload"
    program_id: int


@immutable
class Owner:
    """Whose program it is. If that is unknown, `program_name` is empty and the rest is None."""

    program_id: int
    program_name: str
    link_id: int | None
    pid: int | None
    command: str | None  # "this process" if it is this one
    mode: str = ""  # its mode on the interface in question

    def __str__(self) -> str:
        return owned(self.program_id, self.program_name, self.mode, self.pid, self.command)


def attached(ifindex: int) -> tuple[Attached, ...]:
    """The XDP programs on an interface of this thread's network namespace. Needs no privileges."""
    _, _, found = netlink.link(ifindex)
    return attached_in(found)


def attached_in(link: netlink.Attributes) -> tuple[Attached, ...]:
    """The XDP programs that a link's attributes name."""
    xdp = netlink.attributes(link.get(_IFLA_XDP, b""))
    return tuple(Attached(mode, netlink.unsigned(xdp[kind])) for kind, mode in _MODES.items() if kind in xdp)


def owner(program_id: int) -> Owner:
    """Find the process behind a program: the holder of a link to it or, failing that, of the program itself.

    It looks for a second at most: root's processes first, those with the fewest descriptors first.
    """
    name = program_name(program_id)
    holder: Owner | None = None
    for pid, facts in _descriptors():
        if facts.get("prog_id") != str(program_id):
            continue
        link_id = int(facts["link_id"]) if "link_id" in facts else None
        if link_id is not None or holder is None:
            holder = Owner(program_id, name, link_id, pid, THIS_PROCESS if pid == os.getpid() else command(pid))
        if link_id is not None:
            break
    return holder or Owner(program_id, name, None, None, None)


def program_name(program_id: int) -> str:
    """A program's name, if we may ask for it; "" without CAP_SYS_ADMIN, or if the program is gone."""
    kept = Kept()
    try:
        fd = bpf(Command.PROG_GET_FD_BY_ID, struct.pack("I", program_id), kept=kept)
        return printable(terminated(info(fd, 80)[64:80]))
    except KernelError:
        return ""
    finally:
        kept.close()


def describe(ifindex: int) -> str:
    """The programs on an interface and their owners, in words; "" if there is none."""
    return "; ".join(str(replace(owner(found.program_id), mode=found.mode)) for found in attached(ifindex))


def _descriptors() -> Iterator[tuple[int, dict[str, str]]]:
    """(pid, fdinfo) of every descriptor of a bpf link or program that this process may look at."""
    deadline = time.monotonic() + _PATIENCE
    for _, _, pid in sorted(_crowds()):
        with if_there(f"process {pid}"), closing(Process(pid)) as process:
            for number, target in process.descriptors():
                if target.startswith(_BPF):
                    with if_there(f"descriptor {number} of process {pid}"):
                        yield pid, _fdinfo(process.content(f"fdinfo/{number}"))
                if time.monotonic() > deadline:
                    return


def _crowds() -> Iterator[tuple[bool, int, int]]:
    """Of each process: whether it is not root's, how many descriptors it has, and its number."""
    for process in processes():
        with if_there(f"process {process.pid}"):  # else it ended meanwhile, or is somebody else's
            yield process.user != 0, process.open_files, process.pid


def _fdinfo(text: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.split("\n") if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}
