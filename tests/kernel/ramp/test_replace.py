# SPDX-License-Identifier: Apache-2.0
"""Another match in place: a packet meets the old one or the new one; after a failure the old one stays."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import offramp
from offramp import DROP, PASS, TX, Match
from offramp.bpf import Program, XdpLink
from offramp.errors import Closed, InterfaceGone, KernelError, MatchError, OptionError
from offramp.testing import Flood, Lab, Wire
from tests.rigs.processes import in_child
from tests.rigs.threads import finish
from tests.rigs.traffic import MATCH, PORT, claims, datagrams, frame, kernel_receives, kernel_socket, send
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Sender

OTHERS = [f"{MATCH} or udp dst port {port}" for port in (53, 54)]  # the common flow, and one of their own


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return lab.wire(lab.host("a"), lab.host("b"), queues=2, neighbours=True)


pytestmark = pytest.mark.usefixtures("nothing_is_left")


@contextmanager
def nothing_passes(wire: Wire) -> Iterator[None]:
    """Under a flood of the common flow: the kernel sees none of it."""
    with kernel_socket(wire) as kernel, Flood(wire.a, frame(wire), rate=20_000):
        assert eventually(lambda: not kernel_receives(kernel, 0.05)), "not yet in force"
        yield
        kernel.setblocking(False)
        with pytest.raises(BlockingIOError):
            kernel.recv(2048)


def dropped(guard: offramp.Attachment, count: int) -> Callable[[], bool]:
    return lambda: guard.ledger().claimed == count and guard.ledger().exact


def test_of_an_attachment(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", "udp dst port 53") as guard:
        send(wire, 3, 53)
        assert eventually(dropped(guard, 3))
        guard.replace("udp dst port 54")
        assert guard.plan.match == str(Match("udp dst port 54"))
        assert "54" in repr(guard)
        send(wire, 5, 53)
        send(wire, 7, 54)
        assert eventually(dropped(guard, 10))
        assert guard.ledger().passed >= 5


def test_with_another_verdict(wire: Wire) -> None:
    with kernel_socket(wire) as kernel, datagrams(wire), wire.b.host, offramp.attach("eth0", MATCH, DROP) as guard:
        assert eventually(lambda: not kernel_receives(kernel, 0.05))
        guard.replace(MATCH, PASS)
        assert (guard.plan.verdict, guard.ledger().verdict) == (PASS, PASS)
        assert "PASS" in str(guard.plan)
        assert kernel_receives(kernel)
        guard.replace(MATCH)
        assert guard.plan.verdict is PASS
        with pytest.raises(OptionError, match=r"verdict=.*: not offramp\.DROP"):
            guard.replace(MATCH, offramp.CLAIM)
        guard.replace(MATCH, TX)
        assert eventually(lambda: not kernel_receives(kernel, 0.05))


def test_of_a_ramp(wire: Wire) -> None:
    with wire.b.host, datagrams(wire), offramp.open("eth0", "udp dst port 53") as ramp:
        assert ramp.rx(0.1) is None
        ramp.replace(MATCH)
        assert claims(ramp)
        with pytest.raises(OptionError, match="a ramp always claims"):
            ramp.replace(MATCH, DROP)
        ramp.replace("udp dst port 53")
        assert eventually(lambda: ramp.rx(0.05) is None)
    assert ramp.ledger().exact
    assert ramp.ledger().received > 0


@pytest.mark.speed
def test_two_hundred_under_load(wire: Wire) -> None:
    """No packet that both matches have is passed."""
    with wire.b.host, offramp.attach("eth0", OTHERS[0]) as guard:
        with nothing_passes(wire):
            for turn in range(200):
                guard.replace(OTHERS[turn % 2])
        assert eventually(lambda: guard.ledger().exact)
        assert guard.ledger().claimed > 0


@pytest.mark.speed
def test_a_reader_goes_on(wire: Wire) -> None:
    """Another thread reads; what is claimed is received, and nothing is passed."""
    with wire.b.host, offramp.open("eth0", OTHERS[0], stall=None) as ramp:
        reader = threading.Thread(target=lambda: [len(batch) for batch in ramp])
        reader.start()
        with nothing_passes(wire):
            for turn in range(50):
                ramp.replace(OTHERS[turn % 2])
        assert eventually(lambda: ramp.ledger().exact and not ramp.ledger().total("waiting"))
    assert finish(reader)
    assert ramp.ledger().exact
    assert ramp.ledger().received > 0


def test_others_on_the_interface_notice_nothing(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as other, offramp.attach("eth0", "udp dst port 53") as guard:
        with nothing_passes(wire):
            for turn in range(20):
                guard.replace(f"udp dst port {53 + turn % 2}")
        assert eventually(lambda: other.ledger().exact and guard.ledger().exact)
        send(wire, 3, 54)
        assert eventually(dropped(guard, 3))
        other.close()
        guard.replace(MATCH)
        with nothing_passes(wire):
            pass


def test_with_sets(wire: Wire) -> None:
    blocked = offramp.PrefixSet([f"{wire.a.ip}/32"])
    with wire.b.host, offramp.attach("eth0", "udp dst port 53") as guard:
        guard.replace(Match("src host in @blocked and udp", blocked=blocked))
        send(wire, 2, 99)
        assert eventually(dropped(guard, 2))
        blocked.clear()
        send(wire, 2, 99)
        assert eventually(lambda: guard.ledger().passed >= 2)
        other = offramp.HashSet(["198.18.0.1"])
        guard.replace(Match(f"src host in @sources and {MATCH}", sources=other))
        with Sender(wire.a) as sender:
            sender([frame(wire)] * 3)
        assert eventually(dropped(guard, 5))


@pytest.mark.parametrize(
    ("match", "error"),
    [
        ("udp dst prot 53", MatchError),
        ("src host in @nobody", OptionError),
        (53, OptionError),
    ],
)
def test_what_cannot_be_leaves_the_old_one(wire: Wire, match: str, error: type[Exception]) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        plan = guard.plan
        with nothing_passes(wire), pytest.raises(error):
            guard.replace(match)
        assert guard.plan is plan


def refuse(*_: object, **__: object) -> None:
    raise KernelError("another program", errno.ENOMEM)


@pytest.mark.parametrize("what", ["load", "update"])
def test_what_the_kernel_refuses_leaves_the_old_one(wire: Wire, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        with nothing_passes(wire), monkeypatch.context() as patch:
            patch.setattr(*((Program, "load", refuse) if what == "load" else (XdpLink, "update", refuse)))
            with pytest.raises(KernelError, match="ENOMEM"):
                guard.replace("udp dst port 53")
            assert guard.plan.match == str(Match(MATCH))
        guard.replace("udp dst port 53")
        send(wire, 3, 53)
        assert eventually(lambda: guard.ledger().claimed >= 3)


@pytest.mark.parametrize("before", [True, False])
def test_interrupted(wire: Wire, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    """The plan says which of the two is in force."""
    update = XdpLink.update

    def interrupted(link: XdpLink, program: Program, instead_of: Program) -> None:
        if not before:
            update(link, program, instead_of)
        monkeypatch.undo()
        raise KeyboardInterrupt

    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        monkeypatch.setattr(XdpLink, "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            guard.replace("udp dst port 53")
        assert guard.plan.match == str(Match(MATCH if before else "udp dst port 53"))
        send(wire, 3, PORT if before else 53)
        assert eventually(dropped(guard, 3))
        guard.replace("udp dst port 54")
        send(wire, 3, 54)
        assert eventually(dropped(guard, 6))


def test_closed_forked_gone(wire: Wire) -> None:
    with wire.b.host:
        guard = offramp.attach("eth0", MATCH)

        def refused() -> None:
            with pytest.raises(Closed):
                guard.replace(MATCH)

        assert in_child(refused) == 0
        guard.close()
        with pytest.raises(Closed):
            guard.replace(MATCH)
        guard = offramp.attach("eth0", MATCH)
    wire.b.delete()
    with pytest.raises(InterfaceGone):  # from another namespace, too
        guard.replace("udp dst port 53")
    guard.close()


def test_a_queue_that_is_not_there_any_more_is_no_matter(wire: Wire) -> None:
    """The layout is the one that was opened: sockets on both queues."""
    with wire.b.host, offramp.open("eth0", "udp dst port 53", queues=[0, 1]) as ramp:
        queues = ramp.plan.queues
        ramp.replace(MATCH)
        assert ramp.plan.queues == queues
        assert [step.act for step in ramp.plan.steps] == ["attach", "bind", "connect"]
