# SPDX-License-Identifier: Apache-2.0
"""What is sent leaves, or it is an error, or the ledger counts it; and nobody waits for it longer than was asked."""

from __future__ import annotations

import itertools
import socket
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest

import offramp
from offramp.errors import OptionError
from offramp.testing import Lab, Wire
from tests.rigs.links import Kind, made, veth
from tests.rigs.traffic import MATCH, PORT
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Tap

pytestmark = [pytest.mark.speed, pytest.mark.usefixtures("nothing_is_left")]

FLOWS, PACKETS = 40, 400
QUEUES = (1, 2, 3, 4, 8)
TUNNEL = "id 7 local 10.9.0.1 remote 10.9.0.2 dstport 4789 dev below"


def flows(wire: Wire, count: int = PACKETS) -> None:
    """Datagrams of many flows, so that they arrive on every queue."""
    with wire.a.host:
        senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(FLOWS)]
    try:
        for number in range(count):
            senders[number % FLOWS].sendto(b"%5d" % number, (wire.b.ip, PORT))
    finally:
        for sender in senders:
            sender.close()


def echo(ramp: offramp.Ramp, count: int, timeout: float = 0.0) -> int:
    """Sends back `count` packets as they come. Returns how many were accepted."""
    seen = accepted = 0
    while seen < count and (batch := ramp.rx(2.0)) is not None:
        seen += len(batch)
        batch.swap_addresses()
        accepted += ramp.tx(batch, timeout=timeout)
    assert seen == count
    assert ramp.flush() == 0
    return accepted


def check_echo(wire: Wire, rx: int, tx: int) -> None:
    """All packets come back, whatever the number of queues, and queues that cannot send say so."""
    with wire.b.host, offramp.open("near", MATCH) as ramp:
        assert ramp.plan.send_queues == tuple(range(min(rx, tx)))
        assert [queue.facts.sends for queue in ramp.queues] == [queue < tx for queue in range(rx)]
        with Tap(wire.a) as tap:
            flows(wire)
            assert echo(ramp, PACKETS) == PACKETS
            assert len(tap.take(PACKETS)) == PACKETS
        for queue in range(rx):
            if queue < tx:
                assert ramp.send(bytes(60), queue=queue) == 1
                continue
            complaint = rf"queue {queue} cannot send: .*\(send on queue 0\)"
            with pytest.raises(OptionError, match=complaint):
                ramp.send(bytes(60), queue=queue)
            with pytest.raises(OptionError, match=complaint):
                ramp.queues[queue].send(bytes(60))
        ledger = ramp.ledger()
    assert ledger.total("tx_dropped") == ledger.total("tx_ring_full") == 0
    assert ledger.total("sent") == ledger.total("completed") == PACKETS + min(rx, tx)


@pytest.mark.parametrize(("rx", "tx"), [(4, 1), (1, 4), (3, 2)])
def test_queues_that_are_not_alike(lab: Lab, rx: int, tx: int) -> None:
    check_echo(veth(lab, (rx, tx), (tx, 1)), rx, tx)


@pytest.mark.soak
@pytest.mark.parametrize(("rx", "tx"), list(itertools.product(QUEUES, QUEUES)))
def test_all_numbers_of_queues(lab: Lab, rx: int, tx: int) -> None:
    check_echo(veth(lab, (rx, tx), (tx, 1)), rx, tx)


def test_a_ramp_whose_queues_cannot_send(lab: Lab) -> None:
    wire = veth(lab, (4, 1))
    with wire.b.host, pytest.warns(offramp.OfframpWarning, match="4 receive queues"):
        ramp = offramp.open("near", MATCH, queues=[2, 3])
    with (
        ramp,
        pytest.raises(OptionError, match=r"queue 0 cannot send: .* \(also listen on queue 0, and send on that\)"),
    ):
        ramp.send(bytes(60))
    assert ramp.plan.send_queues == ()


LENGTHS = (0, 1, 13, 14, 60, 1514, 1518, 1519, 2047, 2048, 2049, 3000, 65535)


def check_lengths(wire: Wire, mtu: int) -> None:
    """What can be sent arrives; what cannot is an error that names it, and nothing beside it is sent."""
    for end in (wire.a, wire.b):
        end.set_mtu(mtu)
    least, most = 14, mtu + 18
    with wire.b.host, offramp.open("near", MATCH) as ramp, Tap(wire.a) as tap:
        assert ramp.port.facts.largest_frame == most
        for length in sorted({*LENGTHS, most, most + 1}):
            given = [bytes(60), b"\xff" * 12 + b"\x88\xb5" + bytes(length - 14) if length >= 14 else bytes(length)]
            if least <= length <= most:
                assert ramp.send(given) == 2
                continue
            with pytest.raises(OptionError) as caught:
                ramp.send(given)
            text = str(caught.value)
            assert "packet 1" in text
            assert f"{least} to {most}" in text
            assert ("is empty" if not length else f"{length} byte") in text
            assert sum(cause in text for cause in ("is empty", "shorter than", "longer than", "larger than")) == 1
        assert ramp.flush() == 0
        sendable = [length for length in sorted({*LENGTHS, most, most + 1}) if least <= length <= most]
        arrived = tap.take(2 * len(sendable))
        assert [len(frame) for frame in arrived if frame[12:14] == b"\x88\xb5"] == sendable
        ledger = ramp.ledger()
    assert ledger.total("sent") == 2 * len(sendable)
    assert ledger.total("tx_dropped") == 0


@pytest.mark.parametrize("mtu", [68, 1500, 3506])
def test_lengths(lab: Lab, mtu: int) -> None:
    check_lengths(veth(lab, (1, 1)), mtu)


def test_the_mtu_may_change(lab: Lab) -> None:
    """A larger one counts at once; a smaller one as soon as the port has heard of it."""
    wire = veth(lab, (1, 1))
    with wire.b.host, offramp.open("near", MATCH) as ramp:
        with pytest.raises(OptionError, match="not from 14 to 1518"):
            ramp.send(bytes(1600))
        for end in (wire.a, wire.b):
            end.set_mtu(3000)
        assert ramp.send(bytes(1600)) == 1
        with pytest.raises(
            OptionError, match=r"2049 bytes, larger than a frame of the packet memory: not from 14 to 2048"
        ):
            ramp.send(bytes(2049))
        wire.b.set_mtu(1000)
        ramp.rx(0)
        ramp.port.events()
        with pytest.raises(OptionError, match="MTU of 1000"):
            ramp.send(bytes(1600))


def test_a_batch_with_packets_that_cannot_be_sent(lab: Lab) -> None:
    """None of it is sent; a mask picks those that can."""
    wire = veth(lab, (1, 1))
    with wire.b.host, offramp.open("near", MATCH) as ramp:
        flows(wire, 10)
        eventually(lambda: ramp.ledger().total("waiting") == 10)
        batch = ramp.rx(1.0)
        assert batch is not None
        for end in (wire.b, wire.a):
            end.set_mtu(68)
        ramp.port.events()
        large = offramp.open_port("null:", packets=[bytes(200), bytes(60), bytes(100)], repeat=False).rx()
        assert large is not None
        with pytest.raises(OptionError, match="packet 0 has 200 bytes"):
            ramp.tx(large)
        assert ramp.ledger().total("sent") == 0
        assert ramp.tx(large, np.asarray(large.length) <= ramp.port.facts.largest_frame) == 1
        assert ramp.tx(batch) == 10
        assert ramp.flush() == 0


def bounded(seconds: float, call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    took = time.monotonic() - start
    assert took < seconds, took
    return took


@pytest.mark.parametrize("what", ["down", "gone"])
def test_a_peer_that_is_down_or_gone(lab: Lab, what: str) -> None:
    """Nothing waits, and what did not leave is counted."""
    wire = veth(lab, (4, 1), (1, 1))
    with wire.b.host, offramp.open("near", MATCH) as ramp:
        if what == "down":
            wire.a.down()
            bounded(5.0, lambda: ramp.send([bytes(60)] * 1000))
            assert ramp.flush() == 0
            assert ramp.ledger().total("tx_dropped") == ramp.ledger().total("completed") == 1000
        else:
            wire.a.delete()  # which takes this end with it
            with pytest.raises((offramp.InterfaceGone, offramp.InterfaceDown)):
                ramp.send([bytes(60)] * 1000)


def test_queues_of_a_driver_that_does_not_tell(lab: Lab) -> None:
    """It has no ethtool; the kernel lists its queues (Linux 6.8), or says how many it was made with."""
    host = lab.host("a")
    if (name := made(host, Kind("vxlan", f"link add x numrxqueues 4 numtxqueues 2 type vxlan {TUNNEL}"))) is None:
        return
    with host, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ramp = offramp.open(name, MATCH, mode="generic")
    with ramp:
        assert ramp.plan.send_queues == (0, 1)
        assert [queue.facts.sends for queue in ramp.queues] == [True, True, False, False]
        with pytest.raises(OptionError, match="queue 3 cannot send"):
            ramp.send(bytes(60), queue=3)
