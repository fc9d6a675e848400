# SPDX-License-Identifier: Apache-2.0
"""Standard streams that are closed, or that cannot be written: no traceback, and an error that says which."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

__all__ = ["UNWRITABLE", "not_written", "prepare", "say", "written"]

UNWRITABLE = (errno.EBADF, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a write to a stream may raise


def prepare() -> str | None:
    """Make what is closed lead nowhere, so that no file of ours takes its number. An error if it is the output."""
    closed = sys.stdout is None
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _to_nowhere(number)
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115  # it stays open
    return f"offramp: {written(errno.EBADF)}" if closed else None


def not_written() -> str | None:
    """Whether the output cannot be written: the error; "" if its reader has gone, which nobody has to be told.

    What could not be written is let go of, or the interpreter would complain about it at its end.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None) or errno.EBADF
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "" if number == errno.EPIPE else f"offramp: {written(number)}"
    return None


def say(text: str) -> None:
    """To stderr, if there is somebody."""
    with suppress(OSError, ValueError):
        if text:
            print(text, file=sys.stderr, flush=True)


def written(number: int) -> str:
    """The error in words."""
    return f"the output cannot be written: {os.strerror(number)} [{errno.errorcode[number]}]"


def _to_nowhere(number: int) -> None:
    """Give the descriptor of this number to /dev/null, unless somebody has it already."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
