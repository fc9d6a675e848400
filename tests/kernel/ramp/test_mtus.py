# SPDX-License-Identifier: Apache-2.0
"""MTUs from the least to the greatest: the plan and what is carried out give one answer, and remedies work.

veth takes a program up to the MTU of its *peer* that one page holds: 3506. Beyond that, a verdict in the driver falls
back to generic mode; sockets are refused, as they would be slow without notice.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import offramp
from offramp.errors import InterfaceError, OfframpError, OfframpWarning
from offramp.options import Options
from offramp.planner import Plan
from offramp.ramp.planned import plan_for
from offramp.testing import Lab, Wire
from offramp.verdict import Verdict
from tests.rigs.links import carry_out, veth
from tests.rigs.traffic import send
from tests.rigs.waiting import eventually

pytestmark = [pytest.mark.speed, pytest.mark.usefixtures("nothing_is_left")]

NATIVE, SOCKETS = 3506, 3818
MTUS = (68, 576, 1280, 1500, 1770, 1771, NATIVE, NATIVE + 1, 3600, SOCKETS, SOCKETS + 1, 9000, 65535)
SOME = (68, NATIVE, NATIVE + 1, SOCKETS + 1, 65535)
MODES = ("auto", "native", "generic")
VERDICTS = (Verdict.DROP, Verdict.PASS, Verdict.TX, Verdict.CLAIM)


def carried_out(verdict: Verdict, mode: Any) -> Plan:
    if verdict is Verdict.CLAIM:
        with offramp.open("near", "udp", mode=mode) as ramp:
            return ramp.plan
    with offramp.attach("near", "udp", verdict, mode=mode) as attachment:
        return attachment.plan


def answer(asked: Callable[[], Plan]) -> tuple[str, tuple[str, ...]]:
    """The mode and the warnings; or no mode, and the error."""
    try:
        made = asked()
    except OfframpError as error:
        return "", (f"{type(error).__name__}: {error}",)
    return made.mode, made.warnings


def expected(near: int, far: int, verdict: Verdict, mode: str) -> str:
    """The mode, or "" if it is refused."""
    if verdict is Verdict.CLAIM and near > SOCKETS:
        return ""
    if far <= NATIVE or mode == "generic":
        return "native" if mode != "generic" else mode
    return "generic" if mode == "auto" and verdict is not Verdict.CLAIM else ""


def check(wire: Wire, near: int, far: int, verdict: Verdict, mode: str) -> None:
    wire.b.set_mtu(near)
    wire.a.set_mtu(far)
    case, want = (near, far, verdict.name, mode), expected(near, far, verdict, mode)
    with wire.b.host, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        planned = answer(lambda: plan_for("near", "udp", verdict, Options(mode=mode)))  # type: ignore[arg-type]
        done = answer(lambda: carried_out(verdict, mode))
        assert planned == done, case
        assert planned[0] == want, case
        if not want:
            assert planned[1][0].startswith("InterfaceError"), case
            assert f"at most {NATIVE}" in planned[1][0] or f"at most {SOCKETS}" in planned[1][0]
        elif want == "generic" and mode == "auto":
            assert f"more than the {NATIVE}" in planned[1][0], case


@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_some_mtus(lab: Lab, together: bool) -> None:
    wire = veth(lab, (1, 1), together=together)
    for mtu, verdict in itertools.product(SOME, (Verdict.DROP, Verdict.CLAIM)):
        check(wire, mtu, mtu, verdict, "auto")
    for mode in MODES:
        check(wire, 1500, NATIVE + 1, Verdict.TX, mode)
        check(wire, NATIVE + 1, 1500, Verdict.PASS, mode)


@pytest.mark.soak
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_all_mtus(lab: Lab, together: bool) -> None:
    wire = veth(lab, (1, 1), together=together)
    for near, far, verdict, mode in itertools.product(MTUS, MTUS, VERDICTS, MODES):
        check(wire, near, far, verdict, mode)


@pytest.mark.parametrize(("near", "far"), [(9000, 9000), (1500, 9000), (SOCKETS, SOCKETS), (65535, 65535)])
def test_the_hint_names_both_ways_and_both_work(lab: Lab, near: int, far: int) -> None:
    wire = veth(lab, (1, 1))

    def refused(**options: Any) -> InterfaceError:
        with wire.b.host, pytest.raises(InterfaceError) as caught:
            offramp.attach("near", "udp", mode="native", **options)
        return caught.value

    wire.b.set_mtu(near)
    wire.a.set_mtu(far)
    assert refused().hint.endswith(f'mtu {NATIVE}, or mode="generic"')
    with wire.b.host, pytest.warns(OfframpWarning, match="generic mode, as asked"):
        offramp.attach("near", "udp", mode="generic").close()
    assert carry_out(refused().hint, wire.b.host, wire.a.host, "far")
    if near > NATIVE:  # the other end has too large an MTU, too
        assert carry_out(refused().hint, wire.b.host, wire.a.host, "far")
    with wire.b.host, offramp.attach("near", "udp", mode="native"):
        pass


def test_a_fallback_is_said_and_drops(lab: Lab) -> None:
    wire = veth(lab, (1, 1))
    for end in (wire.a, wire.b):
        end.set_mtu(9000)
    with wire.b.host, pytest.warns(OfframpWarning, match=f"MTU is more than the {NATIVE} that veth takes with XDP"):
        attachment = offramp.attach("near", "udp dst port 4321")
    with attachment:
        send(wire, 100)
        eventually(lambda: attachment.ledger().claimed == 100)
        assert attachment.mode == "generic"


def test_more_transmit_queues_there_than_receive_queues_here(lab: Lab) -> None:
    """veth has native XDP only the other way round. It is said, and the remedy works."""
    wire = veth(lab, (1, 1), (1, 4))
    with wire.b.host:
        made = plan_for("near", "udp", Verdict.CLAIM, Options())
        assert made.mode == "generic"
        assert "near has fewer receive queues (1) than its peer has transmit queues" in made.warnings[0]
        with pytest.raises(offramp.NotSupported) as caught:
            offramp.open("near", "udp", mode="native")
        assert carry_out(caught.value.hint, wire.b.host, wire.a.host, "far")
        with offramp.open("near", "udp", mode="native") as ramp:
            assert ramp.mode == "native"
