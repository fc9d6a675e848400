# SPDX-License-Identifier: Apache-2.0
"""Every call of a ramp and an attachment with every odd value: it works, or an error of ours says why not, and the
interface is as it was. The calls are found. tests/unit/house/test_odd_values.py has those that need no interface.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import offramp
from offramp.ramp.planned import plan_for
from offramp.testing import Wire
from tests.rigs.leftovers import has_xdp
from tests.rigs.odd import calls, wrong
from tests.rigs.traffic import MATCH, claims, datagrams, frame

pytestmark = [
    pytest.mark.speed,
    pytest.mark.usefixtures("nothing_is_left"),
    pytest.mark.filterwarnings("ignore::offramp.OfframpWarning"),
]
ENDS = ("close", "__exit__")


def opened_and_read(wire: Wire) -> tuple[offramp.Ramp, offramp.Batch]:
    ramp = offramp.open("eth0", MATCH)
    with datagrams(wire):
        batch = ramp.rx(2.0)
    assert batch is not None
    return ramp, batch


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of callbacks that are none
def test_the_methods_of_a_ramp(wire: Wire) -> None:
    with wire.b.host:
        ramp, batch = opened_and_read(wire)
        good = {"batch": batch, "frames": frame(wire), "match": "udp", "callback": print, "news": None, "source": None}
        with ramp:
            for thing in (ramp, ramp.port, ramp.queues[0]):
                for name, call in calls(thing, type(thing).__name__):
                    if name.partition(".")[2] not in ENDS:
                        assert wrong(call, good) == [], name
            for call in (ramp.events.wait, ramp.events.listen):
                assert wrong(call, good) == []
            ramp.replace(MATCH)
            with datagrams(wire):
                assert claims(ramp)
        assert not has_xdp(wire.b)


def test_the_methods_of_an_attachment(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        for name, call in calls(guard, "Attachment"):
            if name.partition(".")[2] not in ENDS:
                assert wrong(call, {"match": "udp"}) == [], name
        guard.replace(MATCH, offramp.DROP)
        assert guard.ledger().known


@pytest.mark.parametrize("opening", [offramp.attach, pytest.param(offramp.open, marks=pytest.mark.soak), plan_for])
def test_opening(wire: Wire, opening: Callable[..., Any]) -> None:
    good: dict[str, Any] = {"interface": "eth0", "match": MATCH}
    if opening is plan_for:
        good |= {"verdict": offramp.CLAIM, "options": offramp.options.Options()}
    with wire.b.host:
        found = [each for each in wrong(opening, good) if opening is not plan_for or each.startswith(("int", "match"))]
        assert found == []
        assert not has_xdp(wire.b)
