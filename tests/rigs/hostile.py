# SPDX-License-Identifier: Apache-2.0
"""What others may choose: names of interfaces and processes, and what lies in a directory of ours."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rigs.processes import fork

__all__ = ["CONTENTS", "INTERFACES", "PROCESSES", "is_safe", "process_called"]

INTERFACES = (
    b"\xff\xfe",
    b"\x1b[2J\x1b[31mred",
    b"\x01\x02\x7f",
    "é€".encode(),
    "\u202egnp.exe".encode(),
    b"\xed\xb3\xbf",  # what would be a lone surrogate
    b"a\\b\"c'd$(id)",
    b"-rf",
    b"x" * 15,
    b"\xc3" * 15,
    b"..x",
    b"offramp12345678",  # as a mark is called
)
"""The kernel allows them: 15 bytes of anything but `/`, `:`, NUL and white space."""

PROCESSES = (b"\xff\xfe", b"ssh\n\x1b[2J", b"sshd\xff", b"\x80" * 15, b"(x) R 1", b"a\tb\nc:d")

_SET_NAME = 15  # prctl(2), PR_SET_NAME


@contextmanager
def process_called(name: bytes) -> Iterator[int]:
    """A process that has chosen this name."""
    ready, wake = os.pipe()
    pid = fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(_SET_NAME, name, 0, 0, 0)
        os.write(wake, b"1")
        signal.pause()
        os._exit(0)
    try:
        os.read(ready, 1)
        yield pid
    finally:
        os.close(ready)
        os.close(wake)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def is_safe(text: str) -> bool:
    """Whether a terminal shows it, and obeys none of it."""
    return all(line.isprintable() for line in text.split("\n"))


def _bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _others(path: Path) -> None:
    path.write_bytes(b"{}")
    path.chmod(0o600)
    os.chown(path, 65534, 65534)


def _for_all(path: Path) -> None:
    path.write_bytes(b"{}")
    path.chmod(0o666)


CONTENTS: dict[str, Callable[[Path], object]] = {
    "a symbolic link": lambda path: path.symlink_to("/etc/hostname"),
    "a symbolic link to nothing": lambda path: path.symlink_to("nowhere"),
    "a symbolic link to itself": lambda path: path.symlink_to(path.name),
    "a FIFO": lambda path: os.mkfifo(path, 0o600),
    "a socket": _bound,
    "a directory": lambda path: path.mkdir(0o700),
    "a device": lambda path: os.mknod(path, 0o20600, os.makedev(1, 5)),  # /dev/zero
    "another's file": _others,
    "a file for all": _for_all,
    "a huge file": _huge,
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 999),
    "deep JSON": lambda path: path.write_bytes(b"[" * 100_000),
    "nothing": lambda path: path.touch(0o600),
}
"""What makes a file of this kind at a path."""
