# SPDX-License-Identifier: Apache-2.0
"""The guardian: the process that gives back what another one left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from offramp.errors import KernelError
from offramp.journal import guardian, transaction
from offramp.testing import Interface, Wire
from tests.kernel.journal.changes import (
    as_before,
    change_and_wait,
    changed,
    children,
    ended,
    guardian_of,
    kill,
    name_of,
    opened,
)
from tests.rigs.interrupts import Interrupt, at, count, sample
from tests.rigs.processes import forked
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # what is promised is within a second; tests/nic/test_knobs.py has real drivers


def test_what_the_guardian_holds(interface: Interface) -> None:
    """Nothing of the process that it watches: no packet socket, no map, no program."""
    with socket.socket(), forked(interface.host, change_and_wait(interface)) as pid:
        assert eventually(changed(interface), 10.0)
        watcher = guardian_of(pid)
        held = [os.readlink(path) for path in Path(f"/proc/{watcher}/fd").iterdir() if path.name != "2"]
        kinds = sorted(name.split(":")[0] for name in held)
        assert kinds == ["/dev/null", "/dev/null", "anon_inode", "net", "pipe", "pipe", "socket"]
        assert "anon_inode:[pidfd]" in held
        assert os.getsid(watcher) == os.getpgid(watcher) == watcher
        assert Path(f"/proc/{watcher}/cwd").readlink() == Path("/")
        status = dict(line.split(":", 1) for line in Path(f"/proc/{watcher}/status").read_text().splitlines())
        assert int(status["VmRSS"].split()[0]) < 24 << 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_terminals_signals_do_not_reach_it(interface: Interface, number: int) -> None:
    with forked(interface.host, change_and_wait(interface)) as pid:
        assert eventually(changed(interface), 10.0)
        watcher = guardian_of(pid)
        kill(watcher, number)
        time.sleep(0.05)
        assert not ended(watcher)
        assert changed(interface)()
        kill(pid)
        assert eventually(lambda: as_before(interface))


def test_terminated_with_its_control_group(interface: Interface) -> None:
    """Everybody gets SIGTERM; the process does not mind, and is killed with the rest a little later."""

    def work() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        change_and_wait(interface)()

    with forked(interface.host, work) as pid:
        assert eventually(changed(interface), 10.0)
        watcher = guardian_of(pid)
        for target in (pid, watcher):
            kill(target, signal.SIGTERM)
        assert eventually(lambda: as_before(interface))
        assert eventually(lambda: ended(watcher), 5.0)
        assert not ended(pid)


def test_the_guardian_killed_and_replaced(interface: Interface) -> None:
    with interface.host, transaction(opened(interface)) as change:
        change.set("mtu", 2000)
        first = guardian_of(os.getpid())
        kill(first)
        assert eventually(lambda: ended(first), 5.0)
        change.set("mtu", 3000)
        assert guardian_of(os.getpid()) != first
        kill(guardian_of(os.getpid()))
    assert as_before(interface)
    assert guardian_of_nobody()


def guardian_of_nobody() -> bool:
    return "offramp-guard" not in map(name_of, children()) and not guardian._watched


def test_a_replaced_guardian_knows_what_there_is(wire: Wire, interface: Interface) -> None:
    def work() -> None:
        with wire.a.host:
            transaction(opened(wire.a)).set("mtu", 4000)
        change = transaction(opened(interface))
        change.set("mtu", 2000)
        first = guardian_of(os.getpid())
        kill(first)
        assert eventually(lambda: ended(first), 5.0)
        change.set("mtu", 4000)
        signal.pause()

    with forked(interface.host, work) as pid:
        assert eventually(lambda: changed(wire.a)() and changed(wire.b)(), 10.0)
        kill(pid)
        assert eventually(lambda: as_before(wire.a) and as_before(wire.b))


def test_a_stopped_guardian_does_not_stop_us(interface: Interface, monkeypatch: pytest.MonkeyPatch) -> None:
    with interface.host:
        change = transaction(opened(interface))
        change.set("mtu", 2000)
        kill(guardian_of(os.getpid()), signal.SIGSTOP)
        monkeypatch.setattr(guardian, "_PATIENCE", 0.1)
        change.close()
    assert as_before(interface)
    assert guardian_of_nobody()


@pytest.mark.parametrize(
    ("program", "said"),
    [("raise SystemExit(3)", "it did not answer"), ("import time; time.sleep(60)", "it did not answer")],
)
def test_no_guardian_no_change(
    interface: Interface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    (tmp_path / "watch.py").write_text(program)
    monkeypatch.setattr(guardian, "_PROGRAM", str(tmp_path / "watch.py"))
    monkeypatch.setattr(guardian, "_PATIENCE", 0.5)
    with interface.host, transaction(opened(interface)) as change:
        with pytest.raises(Exception, match=f"starting the guardian: {said}"):
            change.set("mtu", 2000)
        assert as_before(interface)
        monkeypatch.setattr(sys, "executable", "/nonexistent/python")
        with pytest.raises(KernelError, match="starting the guardian, /nonexistent/python: No such file"):
            change.set("mtu", 2000)
    assert as_before(interface)
    assert guardian_of_nobody()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_anywhere(interface: Interface, tmp_path: Path) -> None:
    """It is asked again, and it ends after the last journal."""

    def raises() -> None:
        raise Interrupt

    def watch_and_done() -> None:
        guardian.watch(journal, namespace)
        guardian.done(journal)

    def no_more() -> bool:
        subprocess._cleanup()  # type: ignore[attr-defined]  # what an interrupt has lost, as its next process does
        return not set(children()) - before

    journal = str(tmp_path / "journal")
    with interface.host, open("/proc/thread-self/ns/net", "rb") as file:
        namespace = file.fileno()
        before = set(children())
        for place in sample(count(watch_and_done), 25):
            where = at(place, raises, watch_and_done)
            guardian.watch(journal, namespace)
            guardian.done(journal)
            assert guardian._guardian is None, where
            assert not guardian._watched, where
            assert eventually(no_more), where
