# SPDX-License-Identifier: Apache-2.0
"""Processes for tests: children that work on a host of the lab, that talk in lines, and that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from offramp.testing import Host
from tests.rigs.waiting import eventually

__all__ = ["ends_with", "fork", "forked", "gone", "holder", "in_child", "line_of", "piped"]


def fork() -> int:
    """os.fork, without the warning of Python 3.12 that a child of a process with threads may wait for one of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        return os.fork()


def ends_with(work: Callable[[], object]) -> NoReturn:
    """Ends this process, a forked child, after the work: with 0, or with 1 if it raises."""
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def in_child(work: Callable[[], object]) -> int:
    """Has a forked child do the work, and waits for it. Returns its exit code, 0 or 1."""
    pid = fork()
    if pid == 0:
        ends_with(work)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def forked(host: Host, work: Callable[[], object]) -> Iterator[int]:
    """A child that does its work on the host. It is killed at the end if it lives that long."""

    def there() -> None:
        with host:
            work()

    pid = fork()
    if pid == 0:
        ends_with(there)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process has ended in time. A zombie counts: only its parent, or init, has not noticed yet."""

    def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
        except OSError:
            return True

    return eventually(ended, seconds)


def piped(host: Host, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """This Python with these arguments, on the host, with text pipes to and from it."""
    process: subprocess.Popen[str] = host.popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    return process


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that it prints; empty if it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def holder(host: Host, name: str) -> tuple[subprocess.Popen[str], int]:
    """A process that holds an XDP program of that name on the host's eth0, and the program's id."""
    process = piped(host, "-m", "tests.rigs.holder", name, cwd=Path(__file__).parents[2])
    return process, int(line_of(process))
