# SPDX-License-Identifier: Apache-2.0
"""What a MatchError says, word for word: the place, the reason, the cure."""

from __future__ import annotations

import pytest

from offramp.errors import MatchError
from offramp.match import parse
from offramp.match.complain import BEGINNINGS, REFUSED
from offramp.match.scan import KEYWORDS
from tests.unit.match.mistakes import MISTAKES


@pytest.mark.parametrize(
    ("source", "place", "what", "hint"),
    MISTAKES,
)
def test_errors_name_the_place_the_reason_and_the_cure(source: str, place: str, what: str, hint: str) -> None:
    with pytest.raises(MatchError) as caught:
        parse(source)
    error = caught.value
    assert (error.what, error.hint) == (what, hint)
    assert error.text == source
    assert source[error.position : error.position + error.width] == place


def test_an_error_draws_a_caret_under_the_place() -> None:
    with pytest.raises(MatchError) as caught:
        parse("udp dst prot 53")
    assert str(caught.value).splitlines() == [
        "unknown word 'prot' (did you mean 'udp dst port 53'?)",
        "  udp dst prot 53",
        "          ^^^^",
    ]


def test_an_error_in_a_long_match_shows_its_surroundings() -> None:
    with pytest.raises(MatchError) as caught:
        parse("tcp or " * 1000 + "prt 80 or " + "udp or " * 1000 + "udp")
    what, shown, caret = str(caught.value).splitlines()
    assert what == "unknown word 'prt' (did you mean 'port' here?)"
    assert len(shown) < 140
    assert shown[caret.index("^") : caret.rindex("^") + 1] == "prt"


@pytest.mark.parametrize("word", sorted(REFUSED))
def test_words_that_mean_nothing_here_say_why(word: str) -> None:
    for source in (word, f"tcp and {word} 1", f"host {word}", f"tcp {word}"):
        with pytest.raises(MatchError) as caught:
            parse(source)
        assert caught.value.what.startswith(f"'{word}' ")
        assert caught.value.text[caught.value.position :].startswith(word)


def test_all_keywords_are_known_to_the_parser() -> None:
    """Each begins something, stands somewhere, or is refused with a reason."""
    elsewhere = {"and", "or", "mask", "="}
    assert set(KEYWORDS.values()) == {*BEGINNINGS, *REFUSED, *elsewhere}
