# SPDX-License-Identifier: Apache-2.0
"""What this process holds of interfaces, in order of opening: until it is closed or forgotten, or the process forks or
ends.

    closed       by the user, who may be interrupted and close it again
    forgotten    nobody refers to the attachment any more: closed, with a ResourceWarning
    forked       the child holds nothing; the parent does not notice
    the end      of the process: the kernel closes the descriptors; a ResourceWarning

An execution is listed before it acquires the first thing, so that a fork in the middle of it finds that, too.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import Any
from weakref import finalize, ref

from offramp import process
from offramp.ramp.holdings import Held

__all__ = ["begins", "belongs", "ends", "living"]

_living: dict[Held, ref[Any] | None] = {}  # executions, the oldest first, and the attachment of each


def begins(execution: Held) -> None:
    _living[execution] = None


def belongs(execution: Held, attachment: object) -> None:
    """From now on it is closed when nobody refers to the attachment any more."""
    forgotten = finalize(attachment, _forget, execution, repr(attachment))
    forgotten.atexit = False  # see `_at_exit`
    _living[execution] = ref(attachment)


def ends(execution: Held) -> None:
    _living.pop(execution, None)


def living() -> list[Any]:
    """The attachments that are open, in order of opening."""
    found = [attachment() for attachment in tuple(_living.values()) if attachment is not None]
    return [attachment for attachment in found if attachment is not None]


def _forget(execution: Held, what: str) -> None:
    """Nobody refers to the attachment any more, closed or not."""
    if execution not in _living:
        return
    process.when_alone(execution.close)
    warnings.warn(f"{what} was never closed", ResourceWarning, stacklevel=2)


def _in_child() -> None:
    with ExitStack() as stack:  # each one, whatever happens to another
        for execution in tuple(_living):
            stack.callback(execution.abandon)
        _living.clear()


def _at_exit() -> None:
    for execution, attachment in tuple(_living.items()):
        if attachment is not None and (known := attachment()) is not None:
            warnings.warn(f"{known!r} was never closed", ResourceWarning, stacklevel=2)
        execution.leave()


process.holds("ramps", in_child=_in_child, at_exit=_at_exit)
