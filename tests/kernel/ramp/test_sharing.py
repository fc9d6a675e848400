# SPDX-License-Identifier: Apache-2.0
"""Several ramps of one process on one interface: one program, one lock, one journal."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import warnings
from typing import Any

import pytest

import offramp
from offramp import DROP, TX
from offramp.bpf import Program, XdpLink
from offramp.errors import InterfaceBusy, KernelError, OfframpWarning
from offramp.nic.live import open_nic
from offramp.ramp.events import EventKind
from offramp.ramp.interface import look
from offramp.testing import Flood, Lab, Wire
from tests.rigs.leftovers import has_xdp, orphans
from tests.rigs.processes import in_child
from tests.rigs.traffic import frame, kernel_receives, kernel_socket, send
from tests.rigs.waiting import eventually


@pytest.fixture
def wire(lab: Lab) -> Wire:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2, neighbours=True)
    wire.b.gro(True)
    return wire


def drops(guard: offramp.Attachment, count: int) -> bool:
    return eventually(lambda: guard.ledger().claimed == count)


def test_two_verdicts_each_with_an_exact_ledger(wire: Wire) -> None:
    with wire.b.host:
        one = offramp.attach("eth0", "udp dst port 53", DROP)
        two = offramp.attach("eth0", "udp dst port 53 or udp dst port 54", DROP)
    with one, two:
        send(wire, 10, 53)
        send(wire, 20, 54)
        assert drops(one, 10)
        assert drops(two, 20), "the first whose match says yes has a packet"
        one.close()
        assert has_xdp(wire.b)
        send(wire, 5, 53)
        assert drops(two, 25)
        assert one.ledger().claimed == 10
        ledgers = one.ledger(), two.ledger()
    assert not has_xdp(wire.b)
    assert all(ledger.exact for ledger in ledgers)


def test_the_first_is_closed_last(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", "udp dst port 53", DROP) as first:
        with offramp.open("eth0", "udp dst port 54") as second:
            send(wire, 7, 54)
            assert eventually(lambda: second.port.discard(0.01) >= 0 and second.ledger().received == 7)
            assert first.ledger().passed >= 7
        send(wire, 3, 53)
        assert drops(first, 3)
        with kernel_socket(wire) as kernel, Flood(wire.a, frame(wire), rate=1000):
            assert kernel_receives(kernel)
    assert not has_xdp(wire.b)
    assert eventually(lambda: not orphans())


def test_two_readers_on_queues_of_their_own(wire: Wire) -> None:
    said = "matching packets on the others stay"
    with wire.b.host, pytest.warns(OfframpWarning, match=said):
        one = offramp.open("eth0", "udp dst port 53", queues=[0])
    with wire.b.host, pytest.warns(OfframpWarning, match=said):
        two = offramp.open("eth0", "udp dst port 54")
    with wire.b.host, one:
        with two:
            assert (one.plan.queues, two.plan.queues) == ((0,), (1,))
            with pytest.raises(InterfaceBusy, match=r"each receive queue of eth0 is read by another ramp .*MATCH or"):
                offramp.open("eth0", "udp dst port 55")
        assert look("eth0").beside.queues == {0}


def test_an_error_of_the_second_leaves_the_first(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", "udp dst port 53", DROP) as first:
        with pytest.raises(InterfaceBusy, match="another ramp of this process has it in native"):
            offramp.attach("eth0", "udp dst port 54", DROP, mode="generic")
        with pytest.warns(OfframpWarning):
            other = offramp.open("eth0", "udp", queues=[1])
        with other, pytest.raises(InterfaceBusy, match="socket is bound"):
            offramp.open("eth0", "udp", queues=[1])
        send(wire, 4, 53)
        assert drops(first, 4)
    assert not has_xdp(wire.b)


def test_another_process_is_refused(wire: Wire) -> None:
    program = "import offramp\ntry: offramp.attach('eth0', 'udp')\nexcept offramp.InterfaceBusy as error: print(error)"
    with wire.b.host, offramp.attach("eth0", "udp dst port 53", DROP):
        said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert f"pid {os.getpid()}" in said


def test_offloads_come_back_with_the_last(wire: Wire) -> None:
    def gro() -> object:
        with wire.b.host:
            return open_nic("eth0").get("feature.rx-gro")

    wire.b.rx_vlan_offload(False)
    with wire.b.host, pytest.warns(OfframpWarning, match="generic mode|GRO is off|PEER"):
        one = offramp.attach("eth0", "udp dst port 53", DROP, mode="generic")
    assert [change.knob for change in one.plan.changes] == ["feature.rx-gro"]
    assert gro() is False
    with wire.b.host, pytest.warns(OfframpWarning, match="generic mode"):
        two = offramp.attach("eth0", "udp dst port 54", TX)
    assert two.mode == "generic"
    assert two.plan.changes == one.plan.changes  # it needs them, too
    one.close()
    assert gro() is False
    two.close()
    assert gro() is True


def test_a_forked_child_holds_nothing(wire: Wire) -> None:
    with wire.b.host:
        one = offramp.attach("eth0", "udp dst port 53", DROP)
        two = offramp.attach("eth0", "udp dst port 54", DROP)

    def close_both() -> None:
        one.close()
        two.close()

    assert in_child(close_both) == 0
    with one, two:
        send(wire, 3, 53)
        send(wire, 3, 54)
        assert drops(one, 3)
        assert drops(two, 3)
    assert not has_xdp(wire.b)


def test_many_open_and_close_in_any_order(wire: Wire) -> None:
    """Under a flood of packets that all drop: none of them reaches the kernel meanwhile."""
    constant = "udp dst port 4321"
    with kernel_socket(wire) as kernel, wire.b.host:
        guard = offramp.attach("eth0", constant, DROP)
        with guard, Flood(wire.a, frame(wire), rate=20_000):
            assert eventually(lambda: guard.ledger().claimed > 0)
            for turn in range(5):
                others = [offramp.attach("eth0", f"udp dst port {port}", DROP) for port in range(50, 53)]
                for at in ((0, 1, 2), (2, 1, 0), (1, 0, 2))[turn % 3]:
                    others[at].close()
                    assert others[at].ledger().exact
            assert not kernel_receives(kernel, 0.1)
    assert not has_xdp(wire.b)


@pytest.mark.parametrize("how", ["removed", "moved"])
@pytest.mark.parametrize("mode", ["native", "generic"])
def test_the_interface_goes_while_two_are_open(lab: Lab, wire: Wire, how: str, mode: Any) -> None:
    with wire.b.host, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = offramp.attach("eth0", "udp dst port 53", DROP, mode=mode)
        two = offramp.open("eth0", "udp dst port 54", mode=mode)
    with one, two:
        if how == "removed":
            wire.b.delete()
        else:
            with wire.b.host.netlink() as route, lab.host("elsewhere") as elsewhere:
                route.link("set", index=wire.b.ifindex, net_ns_fd=elsewhere.fileno())
        one.close()
        assert one.closed
    assert eventually(lambda: not orphans())


def test_a_program_that_cannot_be_made_anew_is_taken_away(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    with wire.b.host:
        one = offramp.attach("eth0", "udp dst port 53", DROP)
        two = offramp.attach("eth0", "udp dst port 54", DROP)
        with monkeypatch.context() as patch:
            patch.setattr(XdpLink, "update", refuse)
            with pytest.raises(KernelError, match="ENOMEM"):
                one.close()
        assert not has_xdp(wire.b), "the kernel has every packet back"
        assert [event.kind for event in two.events] == [EventKind.DETACHED]
        with offramp.attach("eth0", "udp dst port 55", DROP):  # which makes it for both
            send(wire, 3, 54)
            assert drops(two, 3)
        two.close()


def refuse(*_: object) -> None:
    raise KernelError("another program", errno.ENOMEM)


def test_interrupted_while_the_second_comes(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    update = XdpLink.update

    def interrupted(link: XdpLink, program: Program, instead_of: Program) -> None:
        update(link, program, instead_of)
        monkeypatch.undo()
        raise KeyboardInterrupt

    with wire.b.host, offramp.attach("eth0", "udp dst port 53", DROP) as first:
        monkeypatch.setattr(XdpLink, "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            offramp.attach("eth0", "udp dst port 4321", DROP)
        with kernel_socket(wire) as kernel, Flood(wire.a, frame(wire), rate=1000):
            assert kernel_receives(kernel), "nothing is left of the second"
        send(wire, 3, 53)
        assert drops(first, 3)


def test_a_forgotten_one_is_collected_while_another_is_opened(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Program.load

    def collecting(*arguments: Any, **options: Any) -> Program:
        gc.collect()
        return load(*arguments, **options)

    with wire.b.host:
        forgotten: list[Any] = [offramp.attach("eth0", "udp dst port 4321", DROP)]
        forgotten.append(forgotten)  # a cycle: the collector's work
        monkeypatch.setattr(Program, "load", collecting)
        del forgotten
        with pytest.warns(ResourceWarning, match="never closed"):
            second = offramp.attach("eth0", "udp dst port 53", DROP)
    with second, kernel_socket(wire) as kernel, Flood(wire.a, frame(wire), rate=1000):
        assert kernel_receives(kernel)
        send(wire, 3, 53)
        assert drops(second, 3)
