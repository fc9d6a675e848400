# SPDX-License-Identifier: Apache-2.0
"""Our side of the guardian: the process that undoes this process's changes when it ends without doing so itself.

    this process ──"watch JOURNAL" + its network namespace──> watch.py
                 ──"done JOURNAL"───────────────────────────>
    the kernel   ──pidfd: this process has ended────────────> undoes what it still watches, and ends

Each process has one guardian. It is started before the process's first change. After the last journal is done it is
told to end (the socket is closed), and we wait for it. If it was killed, the next change starts another one; until then
there are only the journals. It is a child of ours: a program that waits for any child (`os.wait()`) will meet it.

Starting it costs some 50 ms, so it starts lean: -I and -S leave out environment, site-packages and its .pth files.
Everything here is called while nobody else changes anything (process.alone).
"""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from offramp import process
from offramp.errors import OfframpError
from offramp.syscalls.failure import trying
from offramp.syscalls.kept import Kept

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["done", "is_lost", "watch"]

_PATIENCE = 10.0  # seconds to start or to end: hundreds of times what it takes
_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "watch.py")
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(_PROGRAM)))

_guardian: _Guardian | None = None
_watched: dict[str, int] = {}  # path of a journal -> descriptor of its interface's network namespace


def watch(journal: str, namespace: int) -> None:
    """Have `journal` undone when this process ends. Calling it again makes sure that the guardian lives.

    Errors: OfframpError, KernelError: there is no guardian, so nothing may be changed.
    """
    global _guardian
    _watched[journal] = namespace  # first: whatever it was told, `done` tells it
    if _guardian is not None and (_guardian.has_ended() or not _told_all(_guardian)):
        _end()
    if _guardian is None:
        _guardian = _Guardian()
        if not _told_all(_guardian):
            _end()
            raise OfframpError("starting the guardian", reason="it has ended")


def _told_all(guardian: _Guardian) -> bool:
    """Each time, since an interrupt may have come before."""
    return all(guardian.told(*known) for known in tuple(_watched.items()))


def done(journal: str) -> None:
    """`journal` needs no guardian any more; the guardian ends after the last one. Again: what an interrupt has left."""
    if journal in _watched and _guardian is not None:
        _guardian.is_done(journal)
    _watched.pop(journal, None)
    if not _watched:
        _end()


def is_lost() -> bool:
    """Whether it has ended though it watches. May be asked at any time, in any thread."""
    guardian = _guardian
    return guardian is not None and bool(_watched) and guardian.has_ended() and guardian is _guardian


def _end() -> None:
    """Forgotten first: nobody asks one that is about to end, should an interrupt come."""
    global _guardian
    if _guardian is not None:
        guardian, _guardian = _guardian, None
        guardian.end()


def _forget() -> None:
    """In a forked child: the guardian belongs to the parent."""
    global _guardian
    _watched.clear()
    if _guardian is not None:
        _guardian.forget()
        _guardian = None


class _Guardian:
    """The process, and the line to it."""

    def __init__(self) -> None:
        """Returns once the guardian watches."""
        from subprocess import DEVNULL, Popen

        self._started = started = list[Popen[bytes]]()
        us = Kept()
        with trying(f"starting the guardian, {sys.executable}"):
            self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                with theirs:
                    descriptors = (theirs.fileno(), us.keep(os.pidfd_open, os.getpid()))
                    command = [sys.executable, "-I", "-S", _PROGRAM, _PACKAGES, *map(str, descriptors)]
                    start: partial[Popen[bytes]] = partial(
                        Popen, pass_fds=descriptors, stdin=DEVNULL, stdout=DEVNULL, cwd="/", start_new_session=True
                    )
                    started.extend(map(start, [command]))  # owned at once, as in syscalls/kept.py
                self._line.settimeout(_PATIENCE)
                self._await_ready()
            except BaseException:
                for each in started:
                    each.kill()
                self.end()
                raise
            finally:
                us.close()

    def _await_ready(self) -> None:
        answer = b""
        with suppress(TimeoutError, ConnectionError):
            answer = self._line.recv(16)
        if answer != b"ready":
            raise OfframpError("starting the guardian", reason="it did not answer", hint="see what it wrote to stderr")

    @property
    def _process(self) -> Popen[bytes]:
        return self._started[0]

    def told(self, journal: str, namespace: int) -> bool:
        """Tell it to watch. Returns whether that worked."""
        try:
            socket.send_fds(self._line, [f"watch {journal}".encode()], [namespace], socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def is_done(self, journal: str) -> None:
        with suppress(OSError):  # it was killed: there is nobody to tell
            self._line.send(f"done {journal}".encode(), socket.MSG_NOSIGNAL)

    def has_ended(self) -> bool:
        """Errors: KernelError."""
        poll = select.poll()
        with suppress(ValueError):  # another thread has closed it just now
            poll.register(self._line, 0)
        with trying("looking whether the guardian lives"):
            return bool(poll.poll(0))

    def end(self) -> None:
        """It ends when it sees that nothing more will come."""
        from subprocess import TimeoutExpired

        try:
            self._line.close()
        finally:
            for started in self._started:
                try:
                    started.wait(_PATIENCE)
                except TimeoutExpired:  # it is stopped, perhaps by a debugger
                    started.kill()
                    started.wait()

    def forget(self) -> None:
        self._line.close()
        for started in self._started:
            started.returncode = 0  # or it would be missed here


process.holds("guardian", in_child=_forget)
