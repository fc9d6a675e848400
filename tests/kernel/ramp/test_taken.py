# SPDX-License-Identifier: Apache-2.0
"""What is taken from under a ramp or an attachment while it is open ends it or not, and is told: never silence."""

from __future__ import annotations

import itertools

import pytest

from tests.rigs.taken import STEPS, Cause, step

pytestmark = pytest.mark.speed  # it would take long in a slow guest

ROUNDS = 10_000  # steps, in the long run
FIXED = STEPS[::5]  # each cause, each who waits, both modes


@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize(("cause", "who", "mode"), FIXED, ids=lambda each: getattr(each, "name", each))
def test_whoever_waits_is_told(cause: Cause, who: str, mode: str) -> None:
    step(cause, who, mode)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
def test_ten_thousand_times() -> None:
    for cause, who, mode in itertools.islice(itertools.cycle(STEPS), ROUNDS):
        step(cause, who, mode)


def test_the_fixed_part_meets_each_cause_each_waiter_and_each_mode() -> None:
    for place, of in enumerate(zip(*STEPS, strict=True)):
        assert {each[place] for each in FIXED} == set(of)
