# SPDX-License-Identifier: Apache-2.0
"""However a process that has changed an interface ends, the interface is as before."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from offramp.errors import InterfaceBusy, KernelError
from offramp.journal import Listed, apply, guardian, listed, restore, transaction
from offramp.journal.record import Change
from offramp.journal.store import Store
from offramp.nic.live import LiveNic, open_nic
from offramp.testing import Host, Interface, Lab, Wire
from tests.leftovers import eventually
from tests.processes import forked

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # of Python 3.12: threads, and fork
    pytest.mark.speed,  # what is promised is within a second; tests/nic/test_knobs.py has real drivers
]

STEPS = (("mtu", 2000), ("feature.rx-gro", True), ("mtu", 3000), ("up", False), ("mtu", 4000))
KNOBS = {"mtu": 1500, "feature.rx-gro": False, "up": True}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OFFRAMP_STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return lab.wire(lab.host("a"), lab.host("b"))


@pytest.fixture
def interface(wire: Wire) -> Interface:
    assert knobs(wire.b) == KNOBS
    return wire.b


def knobs(interface: Interface) -> dict[str, object]:
    with interface.host:
        nic = opened(interface)
        return {knob: nic.get(knob) for knob in KNOBS}


def as_before(interface: Interface) -> bool:
    return knobs(interface) == KNOBS


def children(pid: int | str = "self") -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def guardian_of(pid: int) -> int:
    """The guardian of a process, once it is there."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [child for child in children(pid) if name_of(child) == "offramp-guard"]
        return bool(found)

    assert eventually(look, 10.0)
    return found[0]


def name_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def ended(pid: int) -> bool:
    """A zombie has ended, too: init may be in no hurry."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def opened(interface: Interface) -> LiveNic:
    """The interface, if it is the lab's. In the wrong namespace a test would change this machine's own of that name."""
    nic = open_nic(interface.name)
    assert (nic.identity.mac, nic.identity.driver) == (interface.mac, "veth"), "not the lab's interface"
    return nic


def change_and_wait(interface: Interface) -> Callable[[], None]:
    def work() -> None:
        with transaction(opened(interface)) as change:
            for knob, value in STEPS:
                change.set(knob, value)
            signal.pause()

    return work


def changed(interface: Interface) -> Callable[[], bool]:
    return lambda: knobs(interface)["mtu"] == STEPS[-1][1]


def kill(pid: int, number: int = signal.SIGKILL) -> float:
    """And the time."""
    os.kill(pid, number)
    return time.monotonic()


# -- in order ----------------------------------------------------------------------------------------------------------


def test_changed_and_given_back(interface: Interface) -> None:
    before = children()
    with interface.host, transaction(opened(interface)) as change:
        for knob, value in STEPS:
            change.set(knob, value)
        assert knobs(interface) == {"mtu": 4000, "feature.rx-gro": True, "up": False}
        assert len(children()) == len(before) + 1
        Store().read(Store().names()[0])
    assert as_before(interface)
    assert Store().names() == []
    assert children() == before


@pytest.mark.parametrize("k", range(len(STEPS)))
def test_the_kth_step_fails(interface: Interface, k: int) -> None:
    class Failing(LiveNic):
        left = k

        def set(self, knob: str, value: object) -> None:
            self.left -= 1
            if self.left == -1:
                raise KernelError(f"setting {knob}", 5)
            super().set(knob, value)

    def work() -> None:
        with transaction(Failing(opened(interface).identity)) as change:
            for knob, value in STEPS:
                change.set(knob, value)

    with interface.host, pytest.raises(KernelError, match="Input/output error"):
        work()
    assert as_before(interface)
    assert Store().names() == []


def test_a_value_that_the_kernel_refuses(interface: Interface) -> None:
    with interface.host, transaction(opened(interface)) as change:
        change.set("mtu", 2000)
        with pytest.raises(KernelError, match="Invalid argument"):
            change.set_all([("feature.rx-gro", True), ("mtu", 1 << 20)])
        assert knobs(interface) == {**KNOBS, "mtu": 2000}
    assert as_before(interface)


def test_for_some_time(interface: Interface) -> None:
    with interface.host:
        report = apply(opened(interface), STEPS, for_=0.05)
    assert report is not None
    assert report.state == "given back"
    assert as_before(interface)


def test_from_another_thread_and_namespace(wire: Wire, interface: Interface) -> None:
    with interface.host:
        change = transaction(opened(interface))
    with wire.a.host:
        change.set("mtu", 2000)
        assert knobs(wire.a) == KNOBS
    assert knobs(interface)["mtu"] == 2000
    change.close()
    assert as_before(interface)


def test_a_full_disk(interface: Interface, state: Path) -> None:
    """The change is not made, and what was changed before goes back."""

    def work() -> None:
        nic = opened(interface)
        with transaction(nic) as change:
            change.set("mtu", 2000)
            with pytest.raises(OSError, match="No space left"):
                (state / "ballast").write_bytes(bytes(1 << 20))
            with pytest.raises(KernelError, match=r"writing the journal .* No space left on device \[ENOSPC\]"):
                change.set("mtu", 3000)
            assert nic.get("mtu") == 2000
        assert nic.get("mtu") == 1500

    interface.host.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(state)])
    interface.host.call(work)
    assert as_before(interface)


# -- kill -9 -----------------------------------------------------------------------------------------------------------


def killed_at_any_moment(interface: Interface, rounds: int, seed: int) -> None:
    """While it opens, changes and closes, over and over: within a second everything is as before."""
    chance = random.Random(seed)

    def work() -> None:
        while True:
            with transaction(opened(interface)) as change:
                for _ in range(3):
                    change.set_all(chance.sample(STEPS, 3))
                    time.sleep(chance.uniform(0.0, 0.1))

    touched = 0
    for turn in range(rounds):
        moment = chance.uniform(0.0, 0.4)
        with forked(interface.host, work) as pid:
            time.sleep(moment)
            guardians = children(pid)
            touched += not as_before(interface)
            killed = kill(pid)
            assert eventually(lambda: as_before(interface)), f"round {turn}, killed after {moment:.3f} s"
            assert time.monotonic() - killed < 1.0
            assert eventually(lambda: all(map(ended, guardians)), 5.0)  # noqa: B023
        assert as_before(interface), f"round {turn}: changed again"
    assert restore() == []
    assert touched > rounds // 10  # or it would prove nothing


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment(interface: Interface, seed: int) -> None:
    killed_at_any_moment(interface, 12, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_a_thousand_times(interface: Interface) -> None:
    killed_at_any_moment(interface, 1000, 1)


def test_killed_while_its_children_live(interface: Interface) -> None:
    """Also one that Python knows nothing of: it has copies of all descriptors."""

    def work() -> None:
        with transaction(opened(interface)) as change:
            change.set("mtu", 4000)
            for fork in (os.fork, ctypes.PyDLL(None).fork):
                if fork() == 0:
                    time.sleep(30)
                    os._exit(0)
            signal.pause()

    with forked(interface.host, work) as pid:
        assert eventually(lambda: len(children(pid)) == 3, 10.0)
        orphans = set(children(pid)) - {guardian_of(pid)}
        try:
            kill(pid)
            assert eventually(lambda: as_before(interface))
            assert eventually(lambda: Store().names() == [])
            assert not any(map(ended, orphans))
        finally:
            for orphan in orphans:
                os.kill(orphan, signal.SIGKILL)


def test_changes_in_several_namespaces(wire: Wire, interface: Interface) -> None:
    def work() -> None:
        for end in (wire.a, wire.b):
            with end.host:
                transaction(opened(end)).set("mtu", 4000)
        signal.pause()

    with forked(wire.a.host, work) as pid:
        assert eventually(lambda: changed(wire.a)() and changed(wire.b)(), 10.0)
        kill(pid)
        assert eventually(lambda: as_before(wire.a) and as_before(wire.b))


@pytest.mark.parametrize("end", ["sys.exit(1)", "os.abort()", "os._exit(0)", "1 / 0", "pass", "os.kill(0, 15)"])
def test_other_ends(interface: Interface, end: str) -> None:
    code = (
        "import os, sys\n"
        "from offramp.journal import transaction\n"
        "from offramp.nic.live import open_nic\n"
        "transaction(open_nic('eth0')).set('mtu', 4000)\n"
        "print(open_nic('eth0').get('mtu'), flush=True)\n"
    )
    done = interface.host.run([sys.executable, "-c", code + end], check=False)
    assert done.stdout == "4000\n"
    assert eventually(lambda: as_before(interface))
    assert eventually(lambda: Store().names() == [])
    assert "Traceback" not in done.stderr.replace("ZeroDivisionError", "") or end == "1 / 0"


# -- the guardian ------------------------------------------------------------------------------------------------------


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


# -- both killed: restore ----------------------------------------------------------------------------------------------


def changes_of(entry: Listed) -> tuple[Change, ...]:
    assert entry.record is not None
    return entry.record.changes


def crash(interface: Interface) -> None:
    """The process and its guardian end at the same moment."""
    with forked(interface.host, change_and_wait(interface)) as pid:
        assert eventually(changed(interface), 10.0)
        assert eventually(lambda: not any(change.pending for entry in listed() for change in changes_of(entry)))
        watcher = guardian_of(pid)
        kill(watcher, signal.SIGSTOP)
        kill(pid)
        os.waitpid(pid, 0)
        kill(watcher)
        assert eventually(lambda: ended(watcher), 5.0)
    assert changed(interface)()


def offramp(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from offramp.cli import main; sys.exit(main(sys.argv[1:]))"
    return host.run([sys.executable, "-c", code, *arguments], check=False)


def test_restore(interface: Interface) -> None:
    assert offramp(interface.host, "restore").stdout == "nothing to restore\n"
    crash(interface)
    (entry,) = listed()
    seen = offramp(interface.host, "restore", "--list")
    assert seen.returncode == 0
    assert seen.stdout.splitlines() == [
        f"eth0: left behind: by {name_of(os.getpid())} (pid {entry.journal.split('-')[0]}), {entry.journal}",
        "  mtu: 1500 -> 2000",
        "  feature.rx-gro: False -> True",
        "  mtu: 2000 -> 3000",
        "  up: True -> False",
        "  mtu: 3000 -> 4000",
    ]
    assert changed(interface)()
    assert offramp(interface.host, "restore", "eth1").stdout == "nothing to restore: no journal is about eth1\n"
    done = offramp(interface.host, "restore", "eth0")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "eth0: given back")
    assert as_before(interface)
    assert Store().names() == []


def test_restore_from_another_namespace(interface: Interface, lab: Lab) -> None:
    crash(interface)
    done = offramp(lab.host("c"), "restore", "--json")
    assert done.returncode == 0
    assert '"state": "given back"' in done.stdout
    assert as_before(interface)


def test_two_restores_at_once(interface: Interface) -> None:
    crash(interface)
    code = "import sys; from offramp.cli import main; sys.stdin.read(1); sys.exit(main(['restore']))"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    both = [interface.host.popen([sys.executable, "-c", code], text=True, **pipes) for _ in range(2)]
    for one in both:
        print(file=one.stdin, flush=True)
    said = sorted(one.communicate(timeout=10)[0].splitlines()[0] for one in both)
    assert [one.returncode for one in both] == [0, 0]
    assert "eth0: given back" in said
    assert as_before(interface)
    assert Store().names() == []


def test_the_next_one_on_that_interface_gives_back_first(interface: Interface) -> None:
    crash(interface)
    with interface.host, transaction(opened(interface)) as change:
        assert [report.state for report in change.found] == ["given back"]
        assert as_before(interface)


def test_renamed_in_between(interface: Interface) -> None:
    crash(interface)
    interface.host.run(["ip", "link", "set", "eth0", "name", "uplink"])
    with interface.host:
        (report,) = restore()
        assert (report.interface, report.state) == ("uplink", "given back")
        assert open_nic("uplink").get("mtu") == 1500
    interface.host.run(["ip", "link", "set", "uplink", "name", "eth0"])
    assert as_before(interface)


def test_renamed_while_it_is_changed(interface: Interface) -> None:
    with forked(interface.host, change_and_wait(interface)) as pid:
        assert eventually(changed(interface), 10.0)
        interface.host.run(["ip", "link", "set", "eth0", "name", "uplink"])
        kill(pid)

        def is_back() -> bool:
            with interface.host:
                return bool(open_nic("uplink").get("mtu") == 1500)

        assert eventually(is_back)


def test_removed_in_between(interface: Interface) -> None:
    crash(interface)
    interface.delete()
    (report,) = restore()
    assert report.state == "gone"
    assert report.dealt_with


def test_made_anew_in_between(interface: Interface, wire: Wire) -> None:
    """The new one has settings of its own, equal to ours by chance."""
    crash(interface)
    interface.delete()
    link = f"ip link add eth0 address {interface.mac} mtu 4000 type veth peer name eth9"
    interface.host.run(link.split())
    (report,) = restore()
    assert report.state == "gone"
    assert knobs(interface)["mtu"] == 4000


def test_moved_to_another_namespace(interface: Interface, lab: Lab) -> None:
    """It takes its settings along. One like it, made there, could not be told from it, and so none is touched."""
    crash(interface)
    elsewhere = lab.host("c")
    interface.move_to(elsewhere)
    (report,) = restore()
    with elsewhere:
        assert opened(interface).get("mtu") == 4000
    assert report.state == "gone"


def test_moved_while_it_is_changed(interface: Interface, lab: Lab) -> None:
    elsewhere = lab.host("c")
    with interface.host:
        change = transaction(opened(interface))
        change.set("mtu", 4000)
        interface.move_to(elsewhere)
        assert change.close().state == "gone"


def test_one_that_looks_the_same_elsewhere(interface: Interface) -> None:
    """Two labs, or containers of the same making: same name, number, address, driver; same setting, by chance."""
    crash(interface)
    interface.delete()
    with Lab() as other:
        twin = other.wire(other.host("a"), other.host("b")).b
        twin.set_mtu(4000)
        assert (twin.ifindex, twin.mac) == (interface.ifindex, interface.mac)
        (report,) = restore()
        assert report.state == "gone"
        assert knobs(twin)["mtu"] == 4000


def test_a_reboot_in_between(interface: Interface, state: Path) -> None:
    """Virtual interfaces end with the boot; one with the same number is another one."""
    crash(interface)
    (name,) = Store().names()
    content = (state / name).read_text()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (state / name).write_text(content.replace(boot, "11111111-2222-3333-4444-555555555555"))
    (report,) = restore()
    assert report.state == "gone"
    assert changed(interface)()
    assert Store().names() == []


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "cut off"),
        (lambda path: path.write_text(path.read_text().replace('journal": 1', 'journal": 0')), "version 0"),
        (lambda path: os.chown(path, 1234, -1), "owned by user 1234"),
        (lambda path: path.chmod(0o666), "others may use it"),
        (lambda path: (path.rename(path.parent / "there"), path.symlink_to("there")), "a symbolic link"),
        (lambda path: path.write_text(path.read_text().replace('"mtu"', '"mtv"')), "knob 'mtv'"),
    ],
)
def test_forged_journals_harm_nothing(
    interface: Interface, state: Path, forge: Callable[[Path], object], said: str
) -> None:
    crash(interface)
    (name,) = Store().names()
    forge(state / name)
    done = offramp(interface.host, "restore")
    assert done.returncode == 1
    assert done.stdout.startswith(f"{name}: refused: {state / name}: ")
    assert said in done.stdout
    assert changed(interface)()
    assert (state / name).exists()


def test_what_somebody_else_has_changed_meanwhile(interface: Interface) -> None:
    crash(interface)
    interface.set_mtu(9000)
    done = offramp(interface.host, "restore")
    assert done.returncode == 0
    assert "mtu: left at 9000: somebody has changed it from 4000" in done.stdout
    assert knobs(interface) == {**KNOBS, "mtu": 9000}
    assert Store().names() == []


# -- the lock ----------------------------------------------------------------------------------------------------------


def test_a_second_process_is_refused_with_the_pid(wire: Wire, interface: Interface) -> None:
    with forked(interface.host, change_and_wait(interface)) as pid:
        assert eventually(changed(interface), 10.0)
        with interface.host, pytest.raises(InterfaceBusy, match=rf"eth0: in use by .* \(pid {pid}\)"):
            transaction(opened(interface))
        with wire.a.host:  # of the same number, in another namespace
            transaction(opened(wire.a)).close()
        done = offramp(interface.host, "restore")
        assert (done.returncode, done.stdout) == (0, f"eth0: in use: by {name_of(pid)} (pid {pid})\n")
        assert changed(interface)()
        kill(pid)
        assert eventually(lambda: as_before(interface))
        with interface.host:
            transaction(opened(interface)).close()
