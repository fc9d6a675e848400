# SPDX-License-Identifier: Apache-2.0
"""What is on the link: frames with an Ethernet header, or else the interface is refused by name.

Plans and what is carried out are asked alike, for every kind of link that this kernel can make.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import offramp
from offramp import nic
from offramp.errors import InterfaceError, OfframpError
from offramp.options import Options
from offramp.ramp.planned import plan_for
from offramp.testing import Host, Lab
from offramp.verdict import Verdict
from tests.rigs.links import KINDS, Kind, carry_out, made
from tests.rigs.tap import opened_tap

pytestmark = [pytest.mark.speed, pytest.mark.usefixtures("nothing_is_left")]

ASKED: dict[str, tuple[Verdict, dict[str, Any]]] = {
    "claim": (Verdict.CLAIM, {}),
    "claim, generic": (Verdict.CLAIM, {"mode": "generic"}),
    "drop": (Verdict.DROP, {}),
    "drop, native": (Verdict.DROP, {"mode": "native"}),
    "pass, generic": (Verdict.PASS, {"mode": "generic"}),
    "send back": (Verdict.TX, {}),
}
Answer = tuple[str, str]  # a mode and the warnings; or an error's class and its text


def answer(what: Callable[[], Any]) -> Answer:
    """What comes of it: its mode, or the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "mode", what()
        except OfframpError as error:
            return type(error).__name__, str(error)


def planned_and_done(name: str, verdict: Verdict, options: dict[str, Any]) -> tuple[Answer, Answer]:
    """The plan's answer, and what is so when it is carried out."""

    def carried_out() -> str:
        claims = verdict is Verdict.CLAIM
        call = offramp.open(name, "udp", **options) if claims else offramp.attach(name, "udp", verdict, **options)
        with call as found:
            return found.mode

    plan = answer(lambda: plan_for(name, "udp", verdict, Options(**options)).mode)
    return plan, answer(carried_out)


def check(host: Host, name: str, kind: Kind) -> None:
    """Both give one answer. What has no Ethernet header is refused; remedies work."""
    for words, (verdict, options) in ASKED.items():
        for _ in range(6):
            with host:
                plan, done = planned_and_done(name, verdict, options)
            assert plan == done, (kind.name, words)
            if plan[0] == "mode" or not carry_out(plan[1], host):
                break
        if not kind.ethernet:
            assert plan[0] == "InterfaceError", (kind.name, words, plan)
            assert "no Ethernet header" in plan[1]
        elif kind.refused and "native" not in words:
            assert kind.refused in plan[1] or "receive nothing" in plan[1] or plan[0] == "mode", (kind.name, plan)
        else:
            refused_rightly = plan[0] == "NotSupported" and "native" in words
            assert plan[0] == "mode" or refused_rightly, (kind.name, words, plan)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_kind_of_link(lab: Lab, kind: Kind) -> None:
    """A kernel without that kind has nothing to test: the plan's answer about its type is in tests/unit/planner."""
    host = lab.host("a")
    name = made(host, kind)
    if name is None:
        return
    if kind.made_by.startswith("tuntap"):
        with opened_tap(host, name, headers="vnet_hdr" in kind.made_by, tap="mode tap" in kind.made_by):
            check(host, name, kind)
    else:
        check(host, name, kind)


def test_a_tun_is_refused_before_it_drops_anything(lab: Lab) -> None:
    """With a remedy that works: a TAP carries the same packets, in Ethernet frames."""
    host = lab.host("a")
    host.run(["ip", "tuntap", "add", "tun0", "mode", "tun"])
    host.run(["ip", "link", "set", "tun0", "up"])
    with host:
        for call in (offramp.open, offramp.attach):
            for match in ("", "udp", "ip"):
                with pytest.raises(InterfaceError) as caught:
                    call("tun0", match)
                error = caught.value
                assert error.what == "tun0 is a link of type none (tun)"
                assert "no Ethernet header" in error.reason
    assert "ip tuntap add NAME mode tap" in error.hint
    host.run(["ip", "tuntap", "add", "tap0", "mode", "tap"])
    host.run(["ip", "link", "set", "tap0", "up"])
    with host, offramp.attach("tap0", "udp"):
        pass


@pytest.mark.parametrize("words", ["run tun0 udp --do drop", "plan tun0 udp", "doctor tun0"])
def test_the_command_line_says_so_too(lab: Lab, words: str) -> None:
    host = lab.host("a")
    host.run(["ip", "tuntap", "add", "tun0", "mode", "tun"])
    host.run(["ip", "link", "set", "tun0", "up"])
    command = [sys.executable, "-m", "offramp", *words.split()]
    done = host.run(command, check=False)
    assert done.returncode != 0
    told = " ".join((done.stdout + done.stderr).split())
    assert "no Ethernet header" in told
    assert "ready" not in told
    assert "Traceback" not in told


def on_a_merging_one(lab: Lab, name: str) -> Host | None:
    host = lab.host("a")
    kind = next(kind for kind in KINDS if kind.name == name)
    if made(host, kind) is None:
        return None
    host.run(["ethtool", "-K", "below", "gro", "on"])
    return host


def test_an_interface_on_one_that_merges_packets(lab: Lab) -> None:
    """Its own GRO has nothing to do with it: the remedy is for the interface below."""
    if (host := on_a_merging_one(lab, "vlan")) is None:
        return
    with host:
        plan, done = planned_and_done("x", Verdict.DROP, {})
        assert plan == done
        assert plan[0] == "InterfaceError"
        assert plan[1].startswith("x in generic mode on below with GRO on: XDP would see merged packets")
        assert carry_out(plan[1], host)
        assert planned_and_done("x", Verdict.DROP, {}) == (("mode", "generic"), ("mode", "generic"))
        told = " ".join(plan_for("x", "udp", Verdict.DROP, Options()).warnings)
        assert "ethtool -K below2 tso off" in told


@pytest.mark.parametrize("name", ["macvlan", "macvtap", "ipvlan l2"])
def test_what_is_below_is_read(lab: Lab, name: str) -> None:
    if (host := on_a_merging_one(lab, name)) is None:
        return
    with host:
        link = nic.read("x")
    assert link.merging_below == ("below",)
    assert link.peer is not None
    assert link.peer.name == "below2"


def test_a_tunnel_says_that_packets_may_have_been_merged(lab: Lab) -> None:
    if (host := on_a_merging_one(lab, "vxlan")) is None:
        return
    with host:
        told = plan_for("x", "udp", Verdict.DROP, Options()).warnings[0]
    assert "ethtool -K LOWER gro off" in told
    assert "ethtool -K PEER tso off" in told
