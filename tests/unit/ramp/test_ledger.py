# SPDX-License-Identifier: Apache-2.0
"""The account of packets: whether it adds up, and what it says when it does not."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from offramp.emit.program import COUNTERS
from offramp.ports.ledger import QueueLedger
from offramp.ramp.ledger import Ledger
from offramp.verdict import Verdict

QUEUES = (QueueLedger(received=60, waiting=5), QueueLedger(received=20, rx_dropped=10, rx_ring_full=5))
WHOLE = Ledger(
    Verdict.CLAIM,
    seen=128,
    protected=1,
    passed=2,
    early=3,
    stalled=4,
    redirect_failed=5,
    missed_by_nic=6,
    too_long=7,
    claimed=100,
    queues=QUEUES,
)


def test_it_has_each_counter_of_the_program() -> None:
    assert {each.name for each in fields(Ledger)} > set(COUNTERS)


def test_it_adds_up() -> None:
    assert WHOLE.exact
    assert (WHOLE.received, WHOLE.redirect_lost, WHOLE.lost) == (80, 0, 15)


@pytest.mark.parametrize("counter", [*COUNTERS, "early"])
def test_one_packet_too_many_anywhere_is_seen(counter: str) -> None:
    assert not replace(WHOLE, **{counter: getattr(WHOLE, counter) + 1}).exact


def test_a_body_has_counters_of_its_own() -> None:
    """As many as it has exits for; the program counts each packet once, in one of them or in the common ones."""
    counters = dict.fromkeys(COUNTERS, 0) | {"seen": 15, "claimed": 6, "stalled": 4, "syn": 3, "too_short": 2}
    ledger = Ledger.of(Verdict.DROP, counters, {"stalled": 4}, ())
    assert ledger.exits == {"syn": 3, "too_short": 2}
    assert (ledger.stalled, ledger.early, ledger.exact) == (0, 4, True)
    assert not replace(ledger, exits={"syn": 3}).exact
    assert ledger.to_dict()["syn"] == 3
    assert "syn" in str(ledger)


def test_what_no_socket_has_counted_was_lost_by_the_redirect() -> None:
    short = replace(WHOLE, queues=QUEUES[:1])
    assert (short.redirect_lost, short.exact) == (35, False)
    assert replace(short, verdict=Verdict.DROP, queues=()).exact


def test_one_that_could_not_be_read_is_not_exact() -> None:
    unknown = Ledger(Verdict.CLAIM, known=False)
    assert not unknown.exact
    assert str(unknown) == "unknown: the counters could not be read"


def test_one_whose_program_was_taken_away_says_why_and_still_adds_up() -> None:
    detached = replace(WHOLE, detached="somebody has detached its link")
    assert detached.exact
    assert detached.to_dict()["detached"] == "somebody has detached its link"
    assert str(detached).splitlines()[-1] == "detached: somebody has detached its link"
    assert "detached" not in str(WHOLE)


def test_as_text_rare_causes_are_shown_if_there_are_any() -> None:
    names = [line.split()[0] for line in str(WHOLE).splitlines()]
    assert names[:9] == [
        "seen",
        "protected",
        "passed",
        "early",
        "stalled",
        "redirect_failed",
        "missed_by_nic",
        "too_long",
        "claimed",
    ]
    assert "missed_by_nic" not in str(replace(WHOLE, missed_by_nic=0))
    assert "too_long" not in str(replace(WHOLE, too_long=0))


@pytest.mark.parametrize(
    ("verdict", "row"),
    [(Verdict.CLAIM, "claimed"), (Verdict.DROP, "dropped"), (Verdict.PASS, "observed"), (Verdict.TX, "sent_back")],
)
def test_the_row_of_what_matched_is_named_after_the_verdict(verdict: Verdict, row: str) -> None:
    ledger = Ledger(verdict, seen=10, passed=3, claimed=7)
    others = {"claimed", "dropped", "observed", "sent_back"} - {row}
    assert getattr(ledger, row) == ledger.to_dict()[row] == 7
    assert f"{row:<18}{7:>16}" in str(ledger).splitlines()
    assert not others & (set(ledger.to_dict()) | {line.split()[0] for line in str(ledger).splitlines()})
    assert ("stalled" in str(ledger)) == (verdict is Verdict.CLAIM)


def test_what_was_sent_has_rows_and_properties() -> None:
    ledger = replace(WHOLE, queues=(QueueLedger(sent=5, completed=3, tx_invalid=1), QueueLedger(sent=1, completed=1)))
    assert (ledger.sent, ledger.completed, ledger.tx_invalid) == (6, 4, 1)
    assert {"sent", "completed", "tx_invalid"} <= {line.split()[0] for line in str(ledger).splitlines()}
    assert "sent" not in str(WHOLE)
