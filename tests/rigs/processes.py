# SPDX-License-Identifier: Apache-2.0
"""Processes for tests: children that work on a host of the lab, and are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from offramp.testing import Host
from tests.rigs.waiting import eventually

__all__ = ["forked", "gone"]


@contextmanager
def forked(host: Host, work: Callable[[], object]) -> Iterator[int]:
    """A child that does its work on the host; it is killed at the end, if it lives that long."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with host:
                work()
            status = 0
        finally:
            os._exit(status)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process has ended in time. A zombie counts: its parent, or init, has yet to notice."""

    def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
        except OSError:
            return True

    return eventually(ended, seconds)
