# SPDX-License-Identifier: Apache-2.0
"""Something happens in between: at each place in offramp's code where Python may run a signal handler.

    count(work)            how many such places the work passes
    at(number, act, work)  does the work, and `act` at that place; returns where that was, "" if it was not reached

Python checks for signals, and lets the garbage collector run, where a function begins, after a call, and where a loop
goes back (ceval's CHECK_EVAL_BREAKER), and nowhere else. So those are the places, and what an act raises there is like
a handler's exception. A tracer of instructions finds them. It belongs to the calling thread, and never acts twice.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import offramp

__all__ = ["Alarm", "Interrupt", "at", "count", "sample"]

PACKAGE = str(Path(offramp.__file__).parent)
PURE = ("emit", "lower", "match", "planner", "steering", "facts")  # they hold nothing that could be left behind
CHECKS = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME"}


class Interrupt(KeyboardInterrupt):
    """What a handler raises."""


class Alarm(TimeoutError):
    """What a handler of SIGALRM raises, often: also an Exception, and an OSError."""


def _loops(name: str) -> bool:
    """JUMP_BACKWARD, and in 3.11 POP_JUMP_BACKWARD_IF_..."""
    return "JUMP_BACKWARD" in name and "NO_INTERRUPT" not in name


@cache
def _places(code: CodeType) -> frozenset[int]:
    """Offsets of the instructions that come right after a check for signals."""
    instructions = list(dis.get_instructions(code))
    found = {after.offset for before, after in pairwise(instructions) if before.opname in CHECKS}
    return frozenset(found | {each.argval for each in instructions if _loops(each.opname)})


@cache
def _is_ours(file: str) -> bool:
    return file.startswith(PACKAGE) and file[len(PACKAGE) + 1 :].partition("/")[0] not in PURE


class _Tracer:
    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.passed = 0
        self.where = ""
        self._number = number
        self._act = act

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not _is_ours(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._look

    def _look(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode" and not self.where and frame.f_lasti in _places(frame.f_code):
            self.passed += 1
            if self.passed == self._number:
                file = frame.f_code.co_filename[len(PACKAGE) + 1 :]
                self.where = f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"
                sys.settrace(None)
                self._act()
        return self._look


def _traced(tracer: _Tracer, work: Callable[[], object]) -> None:
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        work()
    finally:
        sys.settrace(before)


def count(work: Callable[[], object]) -> int:
    """Counts the places while the work is done once. Do the work before, so that what is remembered is not counted."""
    tracer = _Tracer(-1, lambda: None)
    _traced(tracer, work)
    return tracer.passed


def at(
    number: int,
    act: Callable[[], object],
    work: Callable[[], object],
    kept: list[BaseException] | None = None,
) -> str:
    """Places are numbered from 1. An Interrupt that `act` raises ends here, if the work lets it through.

    `kept` gets it, as a user may keep an exception: whatever its traceback refers to lives on.
    """
    tracer = _Tracer(number, act)
    try:
        _traced(tracer, work)
    except (Interrupt, Alarm) as error:
        if kept is not None:
            kept.append(error)
    return tracer.where


def sample(places: int, most: int) -> list[int]:
    """This many of the places, evenly spread; always the same ones."""
    return list(range(1, places + 1)) if places <= most else [1 + number * places // most for number in range(most)]
