# SPDX-License-Identifier: Apache-2.0
"""Files that users name, read within bounds of size and time, whatever they turn out to be.

regular file, /dev/null    read to its end, or to one byte more than wanted, also if it grows meanwhile
pipe                       the same, if its writer writes: `<(command)` of a shell is one
others                     refused: a directory has no content, a device may have no end
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from typing import Final

from offramp.errors import OptionError

__all__ = ["content"]

PATIENCE: Final = 10.0  # seconds in which a pipe has to give something
_PIECE: Final = 1 << 20
_KINDS: Final = {stat.S_IFDIR: "a directory", stat.S_IFSOCK: "a socket"}


def content(what: str, path: str | os.PathLike[str], most: int) -> bytes:
    """The content of the file; if it is longer than `most`, one byte more than that.

    Errors: OptionError about `what`, for what cannot be read so; OSError, for a file that cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        about = os.fstat(descriptor)
        kind = stat.S_IFMT(about.st_mode)
        is_null = kind == stat.S_IFCHR and about.st_rdev == os.makedev(1, 3)
        if kind not in (stat.S_IFREG, stat.S_IFIFO) and not is_null:
            hint = "name a file, or a pipe"
            raise OptionError(what, reason=f"it is {_KINDS.get(kind, 'a device')}", hint=hint)
        return _read(what, descriptor, most + 1, kind == stat.S_IFIFO)
    except MemoryError:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None
    finally:
        os.close(descriptor)


def _read(what: str, descriptor: int, most: int, waits: bool) -> bytes:
    pieces: list[bytes] = []
    left = most
    while left:
        if waits:
            _wait(what, descriptor)
        try:
            piece = os.read(descriptor, min(left, _PIECE))
        except BlockingIOError:
            continue  # another process has read it
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _wait(what: str, descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    while not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        if time.monotonic() >= deadline:
            raise OptionError(what, reason=f"a pipe into which nobody has written for {PATIENCE:.0f} s")
