# SPDX-License-Identifier: Apache-2.0
"""Times, as they are written everywhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.arguments import duration, in_words
from offramp.errors import OptionError


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (5, 5),
        (0.25, 0.25),
        ("5", 5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5s", 5),
        ("500ms", 0.5),
        ("1m", 60),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h30m5s250ms", 5405.25),
        ("0.5h", 1800),
        ("1m500ms", 60.5),
        ("0", 0),
    ],
)
def test_times(written: float | str, seconds: float) -> None:
    assert duration("for", written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written", ["", " ", "soon", "-5s", "-1", "5 s", "30m1h", "5d", "ms", "1..5s", "nan", "\u0665s"]
)
def test_what_is_no_time(written: str) -> None:
    with pytest.raises(OptionError) as caught:
        duration("for", written)
    assert str(caught.value) == f"for={written!r}: not a time (a time is 5, 5s, 500ms, 1m or 1h30m)"


def test_what_is_no_number_either() -> None:
    wrongs: tuple[Any, ...] = (True, None, [], b"5s")
    for wrong in wrongs:
        with pytest.raises(OptionError, match="not a number"):
            duration("for", wrong)


@given(st.integers(1, 10**8).map(lambda number: number / 1000))
def test_a_time_in_words_is_the_time(seconds: float) -> None:
    assert duration("for", in_words(seconds)) == pytest.approx(seconds, rel=1e-5)
