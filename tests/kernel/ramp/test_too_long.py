# SPDX-License-Identifier: Apache-2.0
"""Frames longer than what a socket takes: they are the kernel's, counted as what they are, and none is lost."""

from __future__ import annotations

import socket
from typing import Any

import pytest

import offramp
from offramp.gen.packets import eth, ip, udp
from offramp.ramp.events import EventKind
from offramp.ramp.ledger import Ledger
from offramp.ramp.ramp import Ramp
from offramp.testing import Wire
from tests.rigs.traffic import MATCH, PORT, kernel_socket
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Sender, hush, tagged, tags_beside

MODES = ("native", "generic")
HEADERS = 14 + 20 + 8  # Ethernet, IPv4, UDP
LONGEST = 2048 - 256
UDP_SEGMENT = 103
WITH_TAG = [LONGEST - 1, LONGEST, LONGEST + 1, LONGEST + 4, LONGEST + 5]
pytestmark = [
    pytest.mark.filterwarnings("ignore::offramp.OfframpWarning"),
    pytest.mark.usefixtures("nothing_is_left"),
]


def frame(wire: Wire, length: int) -> bytes:
    payload = bytes(length - HEADERS)
    datagram = udp(sport=1024, dport=PORT, payload=payload)
    return eth(ip(datagram, src=wire.a.ip, dst=wire.b.ip), dst=wire.b.mac)


def raise_mtu(wire: Wire, mtu: int) -> None:
    wire.a.set_mtu(mtu)
    wire.b.set_mtu(mtu)


def received(ramp: Ramp, count: int) -> list[int]:
    """The lengths of the packets that arrive, once this many of the flow were seen."""
    lengths: list[int] = []

    def seen() -> bool:
        if (batch := ramp.rx(0.02)) is not None:
            lengths.extend(len(view) for view in batch)
        ledger = ramp.ledger()
        return ledger.claimed + ledger.too_long == count and ledger.total("waiting") == 0 and ledger.exact

    assert eventually(seen), ramp.ledger()
    return lengths


def lost(ledger: Ledger) -> int:
    return ledger.lost + ledger.total("rx_dropped")


@pytest.mark.parametrize("mode", MODES)
def test_the_longest_frame_is_received_and_a_byte_more_is_the_kernels(wire: Wire, mode: Any) -> None:
    with wire.b.host, offramp.open("eth0", MATCH, mode=mode, stall=None) as ramp:
        longest = ramp.plan.longest
        assert longest is not None
        assert longest == LONGEST
        raise_mtu(wire, 3000)
        with Sender(wire.a) as send:
            send([frame(wire, length) for length in (60, 1514, longest - 1, longest)])
            assert received(ramp, 4) == [60, 1514, longest - 1, longest]
            send([frame(wire, length) for length in (longest + 1, 2048, 3014)])
            assert received(ramp, 7) == []
        ledger = ramp.ledger()
    assert (ledger.claimed, ledger.received, ledger.too_long, lost(ledger)) == (4, 4, 3, 0)
    assert ledger.to_dict()["too_long"] == 3
    assert "too_long" in str(ledger)


@pytest.mark.parametrize("mode", MODES)
def test_those_that_are_too_long_reach_the_kernels_sockets(wire: Wire, mode: Any) -> None:
    """Thirty larger ones of eighty, as after an MTU raised while a ramp is open."""
    with wire.b.host, kernel_socket(wire) as kernel, offramp.open("eth0", MATCH, mode=mode) as ramp:
        assert list(ramp.events) == []
        raise_mtu(wire, 3000)
        with wire.a.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(80):
                sender.sendto(bytes(2500 if number % 8 < 3 else 100), (wire.b.ip, PORT))
        assert received(ramp, 80) == [142] * 50
        kernel.settimeout(2)
        assert [len(kernel.recv(4000)) for _ in range(30)] == [2500] * 30
        (event,) = ramp.events
        assert (event.kind, event.details) == (EventKind.MTU_CHANGED, {"mtu": 3000})
        assert event.text == "its MTU is 3000 now: frames of more than 1792 bytes stay with the kernel, as too_long"
        ledger = ramp.ledger()
    assert (ledger.received, ledger.too_long, lost(ledger)) == (50, 30, 0)


def test_an_mtu_that_still_fits_is_told_and_nothing_more(wire: Wire) -> None:
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        for mtu in (1770, 1000):
            wire.b.set_mtu(mtu)
            assert ramp.events.wait(2.0)
            assert [str(event) for event in ramp.events] == [f"eth0: its MTU is {mtu} now"]


@pytest.mark.parametrize("mode", MODES)
def test_larger_frames_have_a_larger_limit(wire: Wire, mode: Any) -> None:
    raise_mtu(wire, 3000)
    with wire.b.host, offramp.open("eth0", MATCH, mode=mode) as ramp, Sender(wire.a) as send:
        assert ramp.plan.longest == 4096 - 256
        if mode == "generic":  # in native mode a veth has no larger frames
            raise_mtu(wire, 5000)
        lengths = [3014, 3520] + [3840, 3841] * (mode == "generic")
        raise_mtu(wire, 3506 if mode == "native" else 5000)
        send([frame(wire, length) for length in lengths])
        assert received(ramp, len(lengths)) == [length for length in lengths if length <= 3840]
        assert ramp.ledger().lost == 0


FIT = WITH_TAG[:2]
TAGGED = [f"vlan and {MATCH}", f"vlan any and {MATCH}", "not ip6"]  # the tag decides, or not: other ways to ask for it


@pytest.mark.parametrize("mode", MODES)
def test_a_tag_in_the_frame_counts(wire: Wire, mode: Any) -> None:
    with wire.b.host, offramp.open("eth0", f"vlan and {MATCH}", mode=mode) as ramp, Sender(wire.a) as send:
        raise_mtu(wire, 3000)
        send([tagged(frame(wire, length - 4), 0x8100, 5) for length in WITH_TAG])
        assert received(ramp, len(WITH_TAG)) == FIT
        assert ramp.ledger().lost == 0


@pytest.mark.since("6.8")
@pytest.mark.parametrize("match", TAGGED)
def test_a_tag_beside_the_frame_counts_and_untagged_frames_do_not_pay_for_it(wire: Wire, match: str) -> None:
    hush(wire)
    with wire.b.host, offramp.open("eth0", match) as ramp:
        assert ramp.plan.vlan_metadata
        raise_mtu(wire, 3000)
        with tags_beside(wire.a, 0x8100, 5), Sender(wire.a, bypass=False) as send:
            send([frame(wire, length - 4) for length in WITH_TAG])
        assert received(ramp, len(WITH_TAG)) == FIT
        if not match.startswith("vlan and"):
            with Sender(wire.a) as send:
                send([frame(wire, LONGEST), frame(wire, LONGEST + 1)])
            assert received(ramp, len(WITH_TAG) + 2) == [LONGEST]
        assert ramp.ledger().lost == 0


def segments(wire: Wire, count: int, size: int) -> None:
    """The sender leaves it to its interface to cut this into datagrams, and a veth leaves it to nobody."""
    with wire.a.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, size)
        sender.sendto(bytes(count * size), (wire.b.ip, PORT))


@pytest.mark.parametrize("size", [1000, 1400])
def test_super_packets_in_generic_mode_are_the_kernels(wire: Wire, size: int) -> None:
    wire.a.gso(True)
    with (
        wire.b.host,
        kernel_socket(wire) as kernel,
        offramp.open("eth0", MATCH, mode="generic") as ramp,
    ):
        segments(wire, 20, size)
        segments(wire, 1, size)
        kernel.settimeout(2)
        whole = [len(kernel.recv(1 << 16)) for _ in range(20)]
        assert whole == [size] * 20
        assert received(ramp, ramp.ledger().claimed + ramp.ledger().too_long) == [HEADERS + size]
        ledger = ramp.ledger()
    assert (ledger.too_long, ledger.received, lost(ledger)) == (1, 1, 0)


@pytest.mark.parametrize("mode", MODES)
def test_a_slow_reader_and_long_frames_have_rows_of_their_own(wire: Wire, mode: Any) -> None:
    with wire.b.host, offramp.open("eth0", MATCH, mode=mode, frames=128, ring=64, stall=None) as ramp:
        raise_mtu(wire, 3000)
        with Sender(wire.a) as send:
            for _ in range(50):
                send([frame(wire, 100), frame(wire, 100), frame(wire, 100), frame(wire, 2000)])
        assert eventually(lambda: ramp.ledger().claimed + ramp.ledger().too_long == 200)
        ledger = ramp.ledger()
    assert (ledger.too_long, ledger.claimed) == (50, 150)
    assert ledger.total("waiting") + ledger.lost == 150
    assert ledger.lost > 0


@pytest.mark.speed
def test_what_is_too_long_for_one_ramp_goes_to_the_next(wire: Wire) -> None:
    with (
        wire.b.host,
        offramp.open("eth0", MATCH) as ramp,
        offramp.attach("eth0", MATCH) as guard,
        Sender(wire.a) as send,
    ):
        raise_mtu(wire, 3000)
        send([frame(wire, 100), frame(wire, 2000)])
        assert received(ramp, 2) == [100]
        assert eventually(lambda: guard.ledger().claimed == 1), "the next section has the long one"
