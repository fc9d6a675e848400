# SPDX-License-Identifier: Apache-2.0
"""Verdict TX, on a veth whose peer may not take what XDP sends: that is said, and what is lost is counted."""

from __future__ import annotations

import warnings

import pytest

import offramp
from offramp.options import Options
from offramp.ramp.planned import plan_for
from offramp.testing import Lab, Wire
from offramp.verdict import Verdict
from tests.rigs.links import veth
from tests.rigs.traffic import MATCH, send
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Tap

pytestmark = pytest.mark.usefixtures("nothing_is_left")

PACKETS = 100
LOST = "takes what is sent back only while it runs XDP"


def sent_back(wire: Wire, **options: str) -> tuple[int, int | None, str]:
    """How many of the packets come back, how many the ledger says were lost, and the plan's warnings."""
    with wire.b.host, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attachment = offramp.attach("near", MATCH, Verdict.TX, **options)  # type: ignore[arg-type]
    with attachment, Tap(wire.a) as tap:
        send(wire, PACKETS)
        eventually(lambda: attachment.ledger().claimed == PACKETS)
        frames: list[bytes] = []

        def all_told() -> bool:
            frames.extend(tap())
            return len(frames) + (attachment.ledger().tx_failed or 0) == PACKETS

        eventually(all_told)
        failed = attachment.ledger().tx_failed
        assert ("tx_failed" in str(attachment.ledger())) == (failed is not None)
    assert attachment.ledger().tx_failed == failed == attachment.ledger().to_dict()["tx_failed"]
    return len(frames), failed, " ".join(attachment.plan.warnings)


def test_a_peer_without_xdp(lab: Lab) -> None:
    """Nothing comes back. The remedy works."""
    wire = veth(lab, (1, 1))
    came, failed, told = sent_back(wire)
    assert (came, failed) == (0, PACKETS)
    assert LOST in told
    assert 'mode="generic" sends them' in told
    came, failed, told = sent_back(wire, mode="generic")
    assert (came, failed) == (PACKETS, 0)
    assert LOST not in told


def test_a_peer_with_xdp(lab: Lab) -> None:
    """In another namespace, too, XDP can be seen: nothing is warned of."""
    wire = veth(lab, (1, 1))
    with wire.a.host:
        other = offramp.attach("far", "udp dst port 1", Verdict.PASS)
    with other:
        came, failed, told = sent_back(wire)
    assert (came, failed) == (PACKETS, 0)
    assert LOST not in told


def test_many_queues(lab: Lab) -> None:
    """The driver counts for each queue."""
    came, failed, _ = sent_back(veth(lab, (4, 4), (4, 4)))
    assert (came, failed) == (0, PACKETS)


def test_a_peer_that_can_be_looked_at(lab: Lab) -> None:
    wire = veth(lab, (1, 1), together=True)
    with wire.b.host:

        def told() -> str:
            return " ".join(plan_for("near", "udp", Verdict.TX, Options()).warnings)

        assert LOST in told()
        with offramp.attach("far", "udp dst port 1", Verdict.PASS):
            assert LOST not in told()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = offramp.attach("far", "udp dst port 1", Verdict.PASS, mode="generic")
        with other:  # which does not help
            assert LOST in told()


def test_packets_that_are_dropped_are_not_counted_as_failed(lab: Lab) -> None:
    wire = veth(lab, (1, 1))
    with wire.b.host, offramp.attach("near", MATCH) as attachment:
        send(wire, PACKETS)
        eventually(lambda: attachment.ledger().claimed == PACKETS)
        assert attachment.ledger().tx_failed == 0
        assert "tx_failed" not in str(attachment.ledger())
