# SPDX-License-Identifier: Apache-2.0
"""What this process holds of interfaces, in order of opening: until it is closed or forgotten, or the process forks or
ends.

    closed       by the user, who may be interrupted and close it again
    forgotten    nobody refers to the attachment any more: closed, with a ResourceWarning
    forked       the child holds nothing; the parent does not notice
    the end      of the process: the kernel closes the descriptors; a ResourceWarning

An execution is listed before it acquires anything, so a fork in the middle of it finds that, too.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any
from weakref import finalize, ref

from offramp import process
from offramp.ramp.holdings import Held

__all__ = ["begins", "belongs", "close_begun", "ends", "living"]


@dataclass
class _Life:
    opening: object  # the opening that began it
    attachment: ref[Any] | None = None


_living: dict[Held, _Life] = {}  # executions, the oldest first


def begins(execution: Held, opening: object) -> None:
    _living[execution] = _Life(opening)


def belongs(execution: Held, attachment: object) -> None:
    """From now on it is closed when nobody refers to the attachment any more."""
    forgotten = finalize(attachment, _forget, execution, repr(attachment))
    forgotten.atexit = False  # see `_at_exit`
    _living[execution].attachment = ref(attachment)


def ends(execution: Held) -> None:
    _living.pop(execution, None)


def close_begun(opening: object) -> None:
    """An opening has failed: close whatever it has begun, the last first."""
    with process.alone():
        process.each([execution.close for execution, life in _living.items() if life.opening is opening])


def living() -> list[Any]:
    """The attachments that are open, in order of opening."""
    found = [_attachment(life) for life in tuple(_living.values())]
    return [attachment for attachment in found if attachment is not None]


def _attachment(life: _Life) -> Any:
    return life.attachment() if life.attachment is not None else None


def _forget(execution: Held, what: str) -> None:
    """Called when nobody refers to the attachment any more, whether it was closed or not."""
    if execution not in _living:
        return
    process.when_alone(execution.close)
    warnings.warn(f"{what} was never closed", ResourceWarning, stacklevel=2)


def _in_child() -> None:
    process.each([execution.abandon for execution in tuple(_living)])
    _living.clear()


def _at_exit() -> None:
    forgotten = [repr(attachment) for attachment in living()]
    process.each([execution.leave for execution in tuple(_living)])
    for what in forgotten:  # last, because the user may have made it an error
        warnings.warn(f"{what} was never closed", ResourceWarning, stacklevel=2)


process.holds("ramps", in_child=_in_child, at_exit=_at_exit)
