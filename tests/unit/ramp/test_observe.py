# SPDX-License-Identifier: Apache-2.0
"""What moving counters tell, and whom to ask for packets of a silent flow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from offramp.errors import NotSupported, OptionError
from offramp.match import parse
from offramp.planner import Options, widened
from offramp.ramp.ask import Question, question
from offramp.ramp.observe import Arrivals, watch
from tests.generators.steerable import MATCH, of, plan

SECONDS = 0.2


def counters(looks: Iterator[tuple[int, int]]) -> Arrivals:
    """A look at a time: packets on the hidden queue and elsewhere, since the beginning."""

    def counts() -> dict[str, int]:
        hidden, elsewhere = next(looks)
        return {"claimed": 5, "stalled": 1, "redirect_failed": hidden, "missed_by_nic": 100 + elsewhere}

    return watch(counts, SECONDS)


def test_a_flow_that_arrives_there() -> None:
    seen = counters(chain([(0, 0), (0, 0)], repeat((40, 0))))
    assert (seen.hidden, seen.elsewhere, seen.without_effect) == (40, 0, False)
    assert seen.seconds is not None
    assert seen.seconds < SECONDS
    assert "40 on the hidden queue, none on others" in str(seen)


def test_what_was_under_way_does_not_count() -> None:
    assert counters(chain([(0, 0)], repeat((1, 30)))).elsewhere == 0


def test_a_flow_that_arrives_elsewhere_only() -> None:
    seen = counters((0, number) for number in range(10_000))
    assert (seen.hidden, seen.without_effect) == (0, True)
    assert seen.seconds is not None
    assert seen.seconds >= SECONDS
    assert "none on the hidden queue" in str(seen)


def test_silence_and_a_fragment_or_two_prove_nothing() -> None:
    silent = counters(repeat((0, 0)))
    assert not silent.without_effect
    assert "it is not known whether" in str(silent)
    assert not Arrivals(0, 3).without_effect


def test_others_are_prompted_until_something_is_seen() -> None:
    prompts: list[int] = []

    def counts() -> dict[str, int]:
        return dict.fromkeys(("claimed", "stalled", "redirect_failed", "missed_by_nic"), int(len(prompts) > 2))

    assert watch(counts, 2.0, lambda: prompts.append(1)).hidden
    assert len(prompts) == 3


def test_others_are_prompted_seldom_and_not_before_a_running_flow_would_be_seen() -> None:
    prompts: list[float] = []
    began = time.monotonic()

    def counts() -> dict[str, int]:
        return dict.fromkeys(("claimed", "stalled", "redirect_failed", "missed_by_nic"), 0)

    watch(counts, 0.5, lambda: prompts.append(time.monotonic() - began))
    assert 1 <= len(prompts) <= 3
    assert prompts[0] >= 0.1


@pytest.mark.parametrize(
    ("match", "asked"),
    [
        ("src host 10.0.0.1 and dst host 10.0.0.2 and ip", Question(1, "10.0.0.2", "10.0.0.1")),
        ("icmp and src host 10.0.0.1 and dst host 10.0.0.2", Question(1, "10.0.0.2", "10.0.0.1")),
        ("icmp6 and src host fd00::1 and dst host fd00::2", Question(58, "fd00::2", "fd00::1")),
        (
            "tcp and src host 10.0.0.1 and dst host 10.0.0.2 and src port 80 and dst port 4000",
            Question(6, "10.0.0.2", "10.0.0.1", 4000, 80),
        ),
        (
            "udp and src host fd00::1 and dst host fd00::2 and src port 53 and dst port 4000",
            Question(17, "fd00::2", "fd00::1", 4000, 53),
        ),
    ],
)
def test_who_is_asked(match: str, asked: Question) -> None:
    assert question(widened(parse(match)).flows or ()) == asked


@pytest.mark.parametrize(
    "match",
    [
        "",
        "udp dst port 53",
        "tcp and src host 10.0.0.1 and dst host 10.0.0.2",
        "tcp and src host 10.0.0.1 and dst host 10.0.0.2 and dst port 80",
        "src net 10.0.0.0/8 and dst host 10.0.0.2",
        "sctp and src host 10.0.0.1 and dst host 10.0.0.2",
    ],
)
def test_nobody_can_be_asked(match: str) -> None:
    with pytest.raises(NotSupported, match="no peer can be asked"):
        question(widened(parse(match)).flows or ())


def test_it_is_a_step_of_the_plan_and_can_be_left_out() -> None:
    (step,) = (step for step in plan(of("ixgbe"), MATCH).steps if step.act == "observe")
    assert "for at most 0.5 s" in step.what
    assert "observe" not in [step.act for step in plan(of("ixgbe"), MATCH, observe=0).steps]


@pytest.mark.parametrize("given", [{"observe": -1}, {"observe": 61}, {"observe": "x"}, {"probe": 1}])
def test_options_that_cannot_be(given: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Options(**given)  # type: ignore[arg-type]


def test_a_probe_that_nobody_looks_for() -> None:
    with pytest.raises(OptionError, match="nobody would watch"):
        Options(observe=0, probe=True)
