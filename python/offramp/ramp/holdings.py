# SPDX-License-Identifier: Apache-2.0
"""What an attempt has acquired, in order, and the three ways in which it ends.

close      the last one first; one whose closing was interrupted is closed again
abandon    in a forked child: descriptors, which are the parent's, are closed; nothing else is touched
leave      at the end of the process: the kernel closes what is left

Each thing is ended, whatever happens to the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from offramp import process

__all__ = ["Held", "Holdings", "Undoing"]

_INTERRUPTS = 10  # in one closing; who interrupts it more often does not want it to finish


class Held(Protocol):
    """Something that can be held. Each method may be called again."""

    def close(self) -> None: ...
    def abandon(self) -> None: ...
    def leave(self) -> None: ...


@dataclass
class Undoing:
    """Something to undo that has no object of its own."""

    close: Callable[[], None]
    abandon: Callable[[], None] = lambda: None
    leave: Callable[[], None] = lambda: None


_Thing = TypeVar("_Thing", bound=Held)


@dataclass
class Holdings:
    held: list[Held] = field(default_factory=list)

    def add(self, held: _Thing) -> _Thing:
        self.held.append(held)
        return held

    def close(self) -> None:
        """Close everything. Errors: the first one, when all are closed. One that fails is closed once more, as an
        interrupt may have cut it short.
        """
        first: BaseException | None = None
        for held in reversed(tuple(self.held)):
            for attempt in range(_INTERRUPTS):
                try:
                    held.close()
                    break
                except BaseException as error:  # a signal handler may raise anything: close it once more
                    first = first or error
                    if attempt and isinstance(error, Exception):
                        break
            self.held[:] = [each for each in self.held if each is not held]
        if first is not None:
            raise first

    def abandon(self) -> None:
        process.each([held.abandon for held in self.held])
        self.held.clear()

    def leave(self) -> None:
        process.each([held.leave for held in self.held])
