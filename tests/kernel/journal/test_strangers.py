# SPDX-License-Identifier: Apache-2.0
"""Another interface has the name, the number, even the address of the one that was changed: nobody touches it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

import offramp
from offramp.errors import InterfaceError, InterfaceGone, OfframpWarning
from offramp.journal import Transaction, restore, transaction
from offramp.journal.store import Store
from offramp.nic.live import open_nic
from offramp.testing import Interface, Lab, Wire
from tests.kernel.journal.changes import change_and_wait, changed, ended, guardian_of, kill, marks, opened
from tests.rigs import swapper
from tests.rigs.processes import forked, line_of, piped
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # it would take long in a slow guest

OTHER_MAC = "02:00:00:00:00:99"


def replaced(interface: Interface, name: str, mac: str) -> None:
    """It is removed, and one is made with its number, and with the setting that ours had, by chance."""
    interface.delete()
    link = f"ip link add {name} index {interface.ifindex} address {mac} mtu 4000 type veth peer name eth9"
    interface.host.run(link.split())


STRANGERS = [("eth0", None), ("eth0", OTHER_MAC), ("other", None), ("other", OTHER_MAC)]  # None: the same address


@pytest.fixture(params=STRANGERS, ids=lambda each: f"{each[0]}-{'other' if each[1] else 'same'}")
def replace_it(request: pytest.FixtureRequest, interface: Interface) -> Callable[[], str]:
    name, mac = request.param

    def work() -> str:
        replaced(interface, name, mac or interface.mac)
        return str(name)

    return work


def is_untouched(interface: Interface, name: str) -> bool:
    with interface.host:
        return bool(open_nic(name).get("mtu") == 4000) and marks(interface.host) == []


def test_closing(interface: Interface, replace_it: Callable[[], str]) -> None:
    with interface.host:
        change = transaction(opened(interface))
        change.set("mtu", 4000)
        name = replace_it()
        with pytest.raises(InterfaceGone):
            change.set("mtu", 3000)
        report = change.close()
        assert (report.state, report.is_trouble) == ("gone", True)
        assert report.reason.startswith("it was removed")
    assert is_untouched(interface, name)
    assert Store().names() == []


def test_its_guardian(interface: Interface, replace_it: Callable[[], str]) -> None:
    with forked(interface.host, change_and_wait(interface)) as pid:
        assert eventually(changed(interface), 10.0)
        guardian = guardian_of(pid)
        os.kill(guardian, signal.SIGSTOP)
        kill(pid)
        name = replace_it()
        os.kill(guardian, signal.SIGCONT)
        assert eventually(lambda: ended(guardian), 5.0)
    assert is_untouched(interface, name)
    assert Store().names() == []


def test_restore_and_the_next_one(interface: Interface, replace_it: Callable[[], str]) -> None:
    with forked(interface.host, change_and_wait(interface)) as pid:
        assert eventually(changed(interface), 10.0)
        guardian = guardian_of(pid)
        os.kill(guardian, signal.SIGSTOP)
        kill(pid)
        kill(guardian)
        assert eventually(lambda: ended(guardian), 5.0)
    name = replace_it()
    with interface.host:
        with Transaction(open_nic(name)) as change:
            assert change.found == []
        (report,) = restore()
        assert (report.interface, report.state) == ("eth0", "gone")
    assert is_untouched(interface, name)


def test_between_opening_and_changing(interface: Interface, replace_it: Callable[[], str]) -> None:
    """Either it is refused, or the new one is what was asked for: it has the name, and is given back as it was."""
    with interface.host:
        nic = opened(interface)
        name = replace_it()
        with suppress(InterfaceGone), transaction(nic) as change:
            change.set("mtu", 3000)
            assert name == nic.identity.name or nic.identity.mac == interface.mac
    assert is_untouched(interface, name)


def test_a_ramp_on_one_that_was_replaced(interface: Interface, replace_it: Callable[[], str]) -> None:
    """The old one ends with its interface; another ramp is on the new one."""
    with interface.host:
        interface_gro(interface, "eth0")
        first = offramp.attach("eth0", "udp dst port 9", mode="generic")
        name = replace_it()
        interface_gro(interface, name)
        interface.host.run(["ip", "link", "set", name, "up"])
        before = gro(name)
        with offramp.attach(name, "udp dst port 9", mode="generic") as second:
            assert gro(name) is False
            with pytest.warns(OfframpWarning, match="eth0: gone: it was removed"):
                first.close()
            assert gro(name) is False
            assert not second.closed
        assert gro(name) is before is True
    assert is_untouched(interface, name)


def interface_gro(interface: Interface, name: str) -> None:
    interface.host.run(["ethtool", "-K", name, "gro", "on"])


def gro(name: str) -> object:
    return open_nic(name).get("feature.rx-gro")


# -- names that change all the time ------------------------------------------------------------------------------------


@contextmanager
def swapping(wire: Wire) -> Iterator[list[int]]:
    process, swaps = piped(wire.b.host, swapper.__file__, "eth0", "eth1"), list[int]()
    assert line_of(process) == "ready"
    try:
        yield swaps
    finally:
        print(file=process.stdin, flush=True)
        swaps.append(int(line_of(process)))
        wire.b.host.kill(process)


@pytest.fixture
def both(lab: Lab) -> list[Wire]:
    a, b = lab.host("a"), lab.host("b")
    wires = [lab.wire(a, b), lab.wire(a, b)]
    for wire in wires:
        wire.b.gro(True)
    return wires


def of_number(ifindex: int) -> list[object]:
    with suppress(InterfaceError, OSError):
        from offramp.nic.device import identify
        from offramp.nic.live import LiveNic
        from offramp.nic.mark import put, take

        put("offrampfffffff0", identify(ifindex))
        try:
            nic = LiveNic(identify("offrampfffffff0"))
            nic.mark("offrampfffffff0")
            return [nic.get(knob) for knob in ("feature.rx-gro", "feature.rx-vlan-hw-parse")]
        finally:
            take("offrampfffffff0")
    return of_number(ifindex)


def swapped_while_opening(both: list[Wire], rounds: int) -> int:
    found = [of_number(wire.b.ifindex) for wire in both]
    opened = set()
    with swapping(both[0]) as swaps:
        done = 0
        while done < rounds:
            with suppress(InterfaceError), offramp.attach("eth0", "udp dst port 9", mode="generic") as ramp:
                done += 1
                opened.add(ramp.plan.ifindex)
                for wire, before in zip(both, found, strict=True):
                    expected = [False, False] if wire.b.ifindex == ramp.plan.ifindex else before
                    assert of_number(wire.b.ifindex) == expected
            assert [of_number(wire.b.ifindex) for wire in both] == found
            assert marks(both[0].b.host) == []
    assert Store().names() == []
    return swaps[0]


def test_names_are_swapped_while_opening(both: list[Wire]) -> None:
    with both[0].b.host:
        assert swapped_while_opening(both, 10) > 1000


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_names_are_swapped_a_hundred_thousand_times(both: list[Wire]) -> None:
    with both[0].b.host:
        swaps = 0
        while swaps < 100_000:
            swaps += swapped_while_opening(both, 50)
