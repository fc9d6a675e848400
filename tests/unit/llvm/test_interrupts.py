# SPDX-License-Identifier: Apache-2.0
"""A request to the compiler, and what a signal's handler does in the middle: no answer is another's, nothing is left
behind, and nobody waits for ever.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offramp.llvm import child as llvm
from offramp.llvm import worker
from tests.rigs.interrupts import Interrupt, at, count, sample
from tests.rigs.waiting import eventually


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    llvm.stop()
    yield
    llvm.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker that starts in no time, and answers with the text that it was sent."""
    script = tmp_path / "quick.py"
    script.write_text(
        "import struct, sys\n"
        "read, write = sys.stdin.buffer, sys.stdout.buffer\n"
        f"while head := read.read({struct.calcsize(worker.HEADER)}):\n"
        f"    triple, text = struct.unpack({worker.HEADER!r}, head)\n"
        "    read.read(triple)\n"
        f"    write.write(struct.pack({worker.HEADER!r}, {worker.DONE}, text) + read.read(text))\n"
        "    write.flush()\n"
    )
    monkeypatch.setattr(llvm, "_WORKER", script)


def echo(text: str = "some text") -> None:
    assert llvm._compile("quick", text) == text.encode()


def start_and_stop() -> None:
    llvm.start()
    echo()
    llvm.stop()


def from_the_start(child: bool) -> Callable[[], None]:
    """A request, with a child that is there, or with none."""
    if child:
        llvm.start()
        return echo
    llvm.stop()
    return start_and_stop


def held() -> tuple[int, int]:
    """Children and descriptors of this process."""
    children = Path("/proc/thread-self/children").read_text().split()
    return len(children), len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("act", ["raise", "ask and raise"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in finalizers Python can only show it
def test_an_interrupt_anywhere(quick: None, there: bool, act: str) -> None:
    def interrupt() -> None:
        if act != "raise":
            echo("another text")
        raise Interrupt

    echo()
    llvm.stop()
    before = held()
    for place in range(1, count(from_the_start(there)) + 1):
        where = at(place, interrupt, from_the_start(there))
        echo("the next text")
        llvm.stop()
        assert eventually(lambda: held() == before), where


@pytest.mark.parametrize("there", [True, False])
def test_a_handler_that_asks_anywhere(quick: None, there: bool) -> None:
    for place in range(1, count(from_the_start(there)) + 1):
        where = at(place, lambda: echo("another text"), from_the_start(there))
        assert len(llvm._children) <= 1, where


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_handler_that_forks_anywhere(quick: None, there: bool) -> None:
    """Both processes have their answers."""
    statuses: list[int] = []
    parent = os.getpid()

    def fork() -> None:
        if (child := os.fork()) != 0:
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    for place in sample(count(from_the_start(there)), 60):
        work, status = from_the_start(there), 1
        try:
            where = at(place, fork, work)
            echo("the next text")
            llvm.stop()
            status = 0
        finally:
            if os.getpid() != parent:
                os._exit(status)
        assert not where or statuses.pop() == 0, where


def test_nobody_waits_for_a_turn_that_does_not_come(
    monkeypatch: pytest.MonkeyPatch, quick: None, tmp_path: Path
) -> None:
    """The one who has it may wait for something that this thread holds."""
    monkeypatch.setattr(llvm, "PATIENCE", 0.05)
    has_turn, end = threading.Event(), threading.Event()

    def hold() -> None:
        with llvm._turn:
            has_turn.set()
            end.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    has_turn.wait()
    try:
        llvm.start()
        echo()
    finally:
        end.set()
        holder.join()
    echo()
