# SPDX-License-Identifier: Apache-2.0
"""Does things again and again on eth0 of this namespace, each time with another failure: see judge.py.

    python -m tests.rigs.failing calls MOST VERB ...           each system call fails in turn, or MOST of them
    python -m tests.rigs.failing descriptors MOST VERB ...     there are 0, 1, 2, ... descriptors left
    python -m tests.rigs.failing memory MOST VERB ...          there is more and more address space left

For each verb, the last line says how many steps there were, and how many of them failed.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import offramp
from tests.rigs.failing.calls import ERRORS, counted, failing
from tests.rigs.failing.judge import STATE, Judge, Step
from tests.rigs.interrupts import sample


def calls(judge: Judge, most: int) -> Iterator[Step]:
    opened: list[offramp.Attachment] = []
    judge.verb.before(opened)
    kinds = counted(lambda: judge.verb.work(opened))
    judge.end(opened, None)
    pairs = [(number, error) for number, kind in enumerate(kinds, 1) for error in ERRORS[kind]]
    for chosen in sample(len(pairs), most):
        number, error = pairs[chosen - 1]
        where = f"call {number} of {len(kinds)}, {kinds[number - 1]}: {errno.errorcode[error]}"
        yield Step(where, partial(failing, number, kinds[number - 1], error, 1))


@contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def descriptors(judge: Judge, most: int) -> Iterator[Step]:
    """The limit is on the number of a descriptor, so what is free below is filled."""
    for left in range(min(most, 64)):

        @contextmanager
        def few(left: int = left) -> Iterator[None]:
            null = os.open("/dev/null", os.O_RDONLY)
            filled = [null]
            try:
                with limited(resource.RLIMIT_NOFILE, null + 256):
                    while len(filled) < 512:
                        try:
                            filled.append(os.dup(null))
                        except OSError:
                            break
                    for _ in range(min(left, len(filled) - 1)):
                        os.close(filled.pop())
                    yield
            finally:
                for fd in filled:
                    os.close(fd)

        yield Step(f"{left} descriptors left", few)


def memory(judge: Judge, most: int) -> Iterator[Step]:
    """From none to a gigabyte, evenly spread on a scale of powers."""
    for number in range(most := min(most, 512)):
        more = 4096 * int(2 ** (18 * number / most)) if number else 0

        def short(more: int = more) -> AbstractContextManager[None]:
            with open("/proc/self/statm") as statm:
                size = int(statm.read().split()[0]) * resource.getpagesize()
            return limited(resource.RLIMIT_AS, size + more)

        yield Step(f"{more} bytes left", short)


def main() -> None:
    how, most, *names = sys.argv[1:]
    warnings.simplefilter("ignore")
    for name in names:
        judge = Judge(name)
        for step in {"calls": calls, "descriptors": descriptors, "memory": memory}[how](judge, int(most)):
            judge.once(step)
        judge.once(None)
        if left := os.listdir(STATE):  # the file of a lock may stay until the next one, if something failed
            judge.find(Step("at last", lambda: limited(0, 0)), f"left: {left}")
        print(json.dumps({"verb": name, "steps": judge.steps, "failed": judge.raised}), flush=True)


if __name__ == "__main__":
    main()
