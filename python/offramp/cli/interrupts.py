# SPDX-License-Identifier: Apache-2.0
"""What Ctrl-C does, from the first moment of the command to the last.

    before the work     the process ends at once with status 130: there is nothing to take back
    noted()             `run`, `nic --watch`: it is noted, the work comes to its end
    raising()           work that takes itself back (`nic`, `restore`, `demo`): KeyboardInterrupt, once
    after the work      nothing: what is left to do takes a moment

Only the command itself, `offramp.__main__`, sets what is before and after. Signals belong to the main thread.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

__all__ = ["INTERRUPTED", "noted", "over", "raising"]

INTERRUPTED = 130
_Handler = Callable[[int, FrameType | None], object]


def over() -> None:
    """The work is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def raising() -> Iterator[None]:
    """A second Ctrl-C does not interrupt what the first one has to take back."""

    def once(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    with _handled({signal.SIGINT: once}):
        yield


@contextmanager
def noted(also: Mapping[int, _Handler] | None = None) -> Iterator[list[int]]:
    """The list of SIGINT, SIGTERM and SIGHUP received; they no longer interrupt anything. If nohup ignores SIGHUP, it
    stays ignored. `also`: signals with a handler of their own.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    wanted: dict[int, _Handler] = {signal.SIGINT: note, signal.SIGTERM: note}
    wanted |= {} if ignored else {signal.SIGHUP: note}
    with _handled(wanted | dict(also or {})):
        yield received


@contextmanager
def _handled(handlers: Mapping[int, _Handler]) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
