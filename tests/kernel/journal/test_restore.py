# SPDX-License-Identifier: Apache-2.0
"""If process and guardian are both killed, `offramp restore` or the next transaction gives back. Also the lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offramp.errors import InterfaceBusy
from offramp.journal import Listed, listed, restore, transaction
from offramp.journal.record import Changed
from offramp.journal.store import Store
from offramp.nic.live import open_nic
from offramp.testing import Host, Interface, Lab, Wire
from tests.kernel.journal.changes import (
    KNOBS,
    as_before,
    change_and_wait,
    changed,
    ended,
    guardian_of,
    kill,
    knobs,
    marks,
    name_of,
    opened,
)
from tests.rigs.processes import forked
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # what is promised is within a second; tests/nic/test_knobs.py has real drivers


def changes_of(entry: Listed) -> tuple[Changed, ...]:
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
        "  feature.rx-gro: off -> on",
        "  mtu: 2000 -> 3000",
        "  up: on -> off",
        "  mtu: 3000 -> 4000",
    ]
    assert changed(interface)()
    assert offramp(interface.host, "restore", "eth1").stdout == "nothing to restore: there is no journal for eth1\n"
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
    """It is found there by its mark, whatever else is there."""
    crash(interface)
    elsewhere = lab.host("c")
    interface.move_to(elsewhere)
    (report,) = restore()
    with elsewhere:
        assert opened(interface).get("mtu") == 1500
    assert report.state == "given back"
    assert marks(elsewhere) == []


def test_moved_to_another_namespace_and_back(interface: Interface, lab: Lab) -> None:
    """Whoever looks for it meanwhile, or when it is back."""
    crash(interface)
    elsewhere = lab.host("c")
    interface.move_to(elsewhere)
    with elsewhere:
        back = replace(interface, host=elsewhere)
    back.move_to(interface.host)
    (report,) = restore()
    assert report.state == "given back"
    interface.up()
    assert as_before(interface)
    assert marks(interface.host) == []


def test_moved_while_it_is_changed(interface: Interface, lab: Lab) -> None:
    elsewhere = lab.host("c")
    with interface.host:
        change = transaction(opened(interface))
        change.set("mtu", 4000)
        interface.move_to(elsewhere)
        assert change.close().state == "given back"
    with elsewhere:
        assert opened(interface).get("mtu") == 1500
    assert marks(elsewhere) == []


def test_moved_and_its_process_killed(interface: Interface, lab: Lab) -> None:
    elsewhere = lab.host("c")
    with forked(interface.host, change_and_wait(interface)) as pid:
        assert eventually(changed(interface), 10.0)
        interface.move_to(elsewhere)
        kill(pid)

        def is_back() -> bool:
            with elsewhere:
                return bool(open_nic("eth0").get("mtu") == 1500)

        assert eventually(is_back)
        assert eventually(lambda: marks(elsewhere) == [])


def test_moved_it_is_still_its_owners(interface: Interface, lab: Lab) -> None:
    elsewhere = lab.host("c")
    with forked(interface.host, change_and_wait(interface)) as pid:
        assert eventually(changed(interface), 10.0)
        interface.move_to(elsewhere)
        with elsewhere, pytest.raises(InterfaceBusy, match=rf"eth0: in use by .* \(pid {pid}\)"):
            transaction(opened(interface))


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
