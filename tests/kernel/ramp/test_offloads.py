# SPDX-License-Identifier: Apache-2.0
"""Offloads of the sender: a match is about frames of a wire, and virtual wires carry packets that are not cut yet.

The senders are real: UDP_SEGMENT and TCP, on the other end. Either the verdicts are right, or a warning names the
command after which they are.
"""

from __future__ import annotations

import itertools
import os
import socket
import warnings
from collections.abc import Sequence

import pytest

import offramp
from offramp.facts.offloads import SEGMENTATION_OFF
from offramp.gen import packets
from offramp.options import Options
from offramp.ramp.planned import plan_for
from offramp.testing import Host, Lab, Wire
from offramp.verdict import Verdict
from tests.rigs.links import carry_out, veth
from tests.rigs.tap import opened_tap, segments
from tests.rigs.traffic import PORT
from tests.rigs.waiting import eventually

pytestmark = [pytest.mark.speed, pytest.mark.usefixtures("nothing_is_left")]

UDP_SEGMENT = 103  # linux/udp.h
SIZE, SEGMENTS = 1000, 4
LONG = f"tcp or udp port {PORT}"
FLAGS = ("tso", "gso", "tx-udp-segmentation")


def send_segments(wire: Wire) -> None:
    """Some datagrams in one call, which UDP leaves to be cut later."""
    with wire.a.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SIZE)
        sender.sendto(bytes(SIZE * SEGMENTS), (wire.b.ip, PORT))


def send_stream(wire: Wire, size: int = 200_000) -> None:
    """A connection to the near end, and so many bytes over it."""
    with wire.b.host:
        server = socket.create_server((wire.b.ip, PORT))
    with server, wire.a.host, socket.create_connection((wire.b.ip, PORT), 10) as client:
        taker, _ = server.accept()
        with taker:
            client.settimeout(10)
            taker.settimeout(10)
            left, sent = size, 0
            while left:
                sent += client.send(bytes(min(left, 32768)))
                left = size - sent
                got = 0
                while got < min(sent, 32768) and sent < size:
                    got += len(taker.recv(1 << 16))
            client.shutdown(socket.SHUT_WR)
            while taker.recv(1 << 16):
                pass


def too_long(wire: Wire, mode: str) -> tuple[int, tuple[str, ...]]:
    """How many packets seem longer than a frame of the wire while both senders send, and what the plan warns of."""
    with wire.b.host, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attachment = offramp.attach("near", "len > 1514", Verdict.PASS, mode=mode)  # type: ignore[arg-type]
    with attachment:
        send_segments(wire)
        send_stream(wire)
        eventually(lambda: attachment.ledger().seen >= SEGMENTS)
        return attachment.ledger().claimed, attachment.plan.warnings


def about(told: Sequence[str]) -> str:
    return next((warning for warning in told if "cut packets" in warning), "")


def test_generic_mode_on_a_veth_and_the_remedy(lab: Lab) -> None:
    wire = veth(lab, (1, 1))
    seen, told = too_long(wire, "generic")
    assert seen > 0
    assert f"ethtool -K PEER {SEGMENTATION_OFF}" in about(told)
    assert carry_out(about(told), wire.b.host, wire.a.host, "far")
    assert too_long(wire, "generic")[0] == 0


def test_native_mode_on_a_veth_is_right_without_a_word(lab: Lab) -> None:
    """Its driver makes the peer send frames."""
    seen, told = too_long(veth(lab, (1, 1)), "native")
    assert (seen, about(told)) == (0, "")


def check_flags(wire: Wire, on: Sequence[str]) -> None:
    """Whatever the peer's offloads are: nothing is too long, or it was said."""
    words = [word for flag in FLAGS for word in (flag, "on" if flag in on else "off")]
    wire.a.host.run(["ethtool", "-K", "far", *words])
    for mode in ("generic", "native"):
        seen, told = too_long(wire, mode)
        assert not seen or about(told), (on, mode)


@pytest.mark.soak
def test_all_offloads_of_a_peer(lab: Lab) -> None:
    wire = veth(lab, (1, 1))
    for count in range(len(FLAGS) + 1):
        for on in itertools.combinations(FLAGS, count):
            check_flags(wire, on)


@pytest.mark.parametrize("on", [(), ("gso",), ("tx-udp-segmentation",), ("tso", "gso")], ids="+".join)
def test_some_offloads_of_a_peer(lab: Lab, on: Sequence[str]) -> None:
    check_flags(veth(lab, (1, 1)), on)


def test_a_peer_that_can_be_looked_at_is_named_and_believed(lab: Lab) -> None:
    """Until it sends frames only. The same for its VLAN tags."""
    wire = veth(lab, (1, 1), together=True)
    host = wire.b.host
    host.run(["ethtool", "-K", "far", "txvlan", "on", "tx-vlan-stag-hw-insert", "on"])

    def told() -> str:
        with host:
            return " ".join(plan_for("near", "udp", Verdict.DROP, Options(mode="generic")).warnings)

    assert f"ethtool -K far {SEGMENTATION_OFF}" in told()
    assert "ethtool -K far txvlan off tx-vlan-stag-hw-insert off" in told()
    host.run(["ethtool", "-K", "far", *SEGMENTATION_OFF.split()])
    assert "cut packets" not in told()
    host.run(["ethtool", "-K", "far", "txvlan", "off"])
    assert "tx-vlan-stag-hw-insert off" in told()
    host.run(["ethtool", "-K", "far", "tx-vlan-stag-hw-insert", "off"])
    assert "ethtool" not in told()


def test_loopback_is_its_own_peer(lab: Lab) -> None:
    host = lab.host("a")
    with host:
        told = " ".join(plan_for("lo", "udp", Verdict.DROP, Options()).warnings)
        assert f"ethtool -K lo {SEGMENTATION_OFF}" in told
        host.run(["ethtool", "-K", "lo", *SEGMENTATION_OFF.split()])
        assert "cut packets" not in " ".join(plan_for("lo", "udp", Verdict.DROP, Options()).warnings)


def machine(host: Host, *, headers: bool) -> None:
    host.run(["ip", "tuntap", "add", "tap0", "mode", "tap", *(["vnet_hdr"] if headers else [])])
    host.run(["ip", "link", "set", "tap0", "mtu", "1500", "up"])


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_machine_behind_a_tap_that_leaves_segmenting_to_its_host(lab: Lab, mode: str) -> None:
    """The warning is about its own ethtool: offramp cannot look into it. Frames that it cuts itself are right."""
    host = lab.host("a")
    machine(host, headers=True)
    datagram = packets.udp(sport=1, dport=PORT, payload=bytes(SIZE * SEGMENTS))
    whole = packets.eth(packets.ip(datagram, src="10.0.0.1", dst="10.0.0.2"))
    short = packets.eth(
        packets.ip(packets.udp(sport=1, dport=PORT, payload=bytes(SIZE)), src="10.0.0.1", dst="10.0.0.2")
    )
    with opened_tap(host, "tap0", headers=True) as machine_side, host, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with offramp.attach("tap0", "len > 1514", Verdict.PASS, mode=mode) as attachment:  # type: ignore[arg-type]
            assert f"ethtool -K PEER {SEGMENTATION_OFF}" in about(attachment.plan.warnings)
            os.write(machine_side, segments(whole, SIZE, udp=True))
            eventually(lambda: attachment.ledger().claimed == 1)
            for _ in range(SEGMENTS):
                os.write(machine_side, bytes(10) + short)
            eventually(lambda: attachment.ledger().seen >= 1 + SEGMENTS)
            assert attachment.ledger().claimed == 1


def test_a_tap_without_headers_carries_frames(lab: Lab) -> None:
    host = lab.host("a")
    machine(host, headers=False)
    with opened_tap(host, "tap0"), host:
        assert about(plan_for("tap0", "udp", Verdict.DROP, Options()).warnings) == ""
