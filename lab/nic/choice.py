# SPDX-License-Identifier: Apache-2.0
"""Which tests run in which guest: pytest collects them here, and their marks say where they belong.

@pytest.mark.nic("igb", "virtio-net", kernels=">=6.14")     on these machines, these kernels
@pytest.mark.nic                                            on every machine with NICs, the oldest kernel and the newest
@pytest.mark.nic(kernels=">=6.1")                           under those between them, too
(tests/kernel, without the mark `speed`)                    on the bare machine, under the oldest kernel
@pytest.mark.since("6.8")                                   on none that is older
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from contextlib import redirect_stdout
from itertools import groupby

import pytest

from lab.nic.kernels import KERNELS, OLDEST, Kernel, allows
from lab.nic.machines import BARE, MACHINES, Machine

__all__ = ["Choice", "choose", "parts"]

Choice = dict[tuple[Machine, Kernel], list[str]]  # a guest, and the names of its tests
MOST = 250  # tests for one guest, unless they are of one file
NAMES = [machine.name for machine in MACHINES]


class _Collected:
    """A plugin of pytest that keeps what was collected."""

    items: Iterable[pytest.Item] = ()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = list(session.items)


def choose(arguments: list[str], asked: Collection[str] = ()) -> Choice:
    """The guests to boot for what these arguments of pytest collect; `asked`: kernels that are wanted by name.

    Errors: ValueError for a mark without meaning.
    """
    collected = _Collected()
    with redirect_stdout(io.StringIO()) as said:
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *arguments], plugins=[collected])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise ValueError(f"pytest could not collect the tests\n{said.getvalue()}")
    items = list(collected.items)
    guests = ((machine, kernel) for kernel in KERNELS for machine in MACHINES)
    chosen = {guest: [item.nodeid for item in items if _belongs(item, *guest, asked)] for guest in guests}
    return {guest: tests for guest, tests in chosen.items() if tests}


def parts(tests: list[str]) -> list[list[str]]:
    """The tests for several guests, so that none takes much longer than all others. A file stays whole."""
    found: list[list[str]] = []
    for _, each in groupby(tests, key=lambda test: test.partition("::")[0]):
        of_file = list(each)
        if not found or len(found[-1]) + len(of_file) > MOST:
            found.append([])
        found[-1] += of_file
    return found


def _belongs(item: pytest.Item, machine: Machine, kernel: Kernel, asked: Collection[str]) -> bool:
    if any(not allows(f">={needed}", kernel.name) for mark in item.iter_markers("since") for needed in mark.args):
        return False
    mark = item.get_closest_marker("nic")
    if mark is None:
        return machine is BARE and kernel.name == OLDEST and item.get_closest_marker("speed") is None
    if unknown := set(mark.args) - set(NAMES):
        raise ValueError(f"{item.nodeid}: no machine {', '.join(map(str, unknown))}: one of {', '.join(NAMES)}")
    kernels = mark.kwargs.get("kernels", "")
    if kernel.if_named and not kernels and kernel.name not in asked:
        return False
    named = machine.name in mark.args if mark.args else not machine.if_named
    return named and allows(kernels, kernel.name)
