# SPDX-License-Identifier: Apache-2.0
"""`--protect MATCH` and `--no-protect`: as `protect=` in Python, with the sets of `--set`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from offramp import Match
from offramp.cli import main
from offramp.cli.matching import matching, with_own
from offramp.cli.parameters import Do, chosen
from offramp.errors import MatchError, OfframpError, OptionError
from offramp.options import Options


@pytest.mark.parametrize("do", [Do.COUNT, Do.DROP])
@pytest.mark.parametrize(
    ("typed", "protect"),
    [
        ({}, True),
        ({"protect": "tcp port 80"}, "tcp port 80"),
        ({"protect": ""}, ""),  # every packet
        ({"no_protect": True}, False),
        ({"no_protect": False, "protect": None}, True),
    ],
)
def test_what_is_typed(do: Do, typed: dict[str, Any], protect: bool | str) -> None:
    assert chosen(do, typed) == Options(protect=protect)


def test_both_exclude_each_other() -> None:
    with pytest.raises(OptionError, match=r"^--no-protect with --protect: they exclude each other$"):
        chosen(Do.COUNT, {"protect": "udp", "no_protect": True})


def test_a_match_with_a_mistake_is_named() -> None:
    with pytest.raises(MatchError, match=r"^--protect: unknown word 'prot'"):
        with_own(Options(protect="prot tcp"), None)
    with pytest.raises(OptionError, match=r"^--protect: the match names a set, @friends"):
        with_own(Options(protect="host in @friends"), None)


def test_sets_are_of_whichever_match_names_them(tmp_path: Path) -> None:
    sets = [f"{name}={tmp_path / name}" for name in ("blocked", "friends", "both")]
    for name in ("blocked", "friends", "both"):
        (tmp_path / name).write_text("192.0.2.1\n")
    options = Options(protect="host in @friends or in @both")
    match = matching(["src host in @blocked or in @both"], None, sets, options)
    own = with_own(options, sets).protect
    assert isinstance(own, Match)
    assert (sorted(match.sets), sorted(own.sets)) == (["blocked", "both"], ["both", "friends"])
    for protected in (True, "udp"):
        with pytest.raises(OfframpError, match="the set 'friends' was given: the match does not name @friends"):
            matching(["src host in @blocked or in @both"], None, sets, Options(protect=protected))


def test_the_plan_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    def planned(*words: str) -> str:
        assert main(["plan", "eth2", "--caps", "ixgbe", *words]) == 0
        return capsys.readouterr().out

    shown = planned("udp or arp", "--protect", "host 192.0.2.1")
    assert "protected  ARP: without it, neighbours forget where this machine is\n" in shown
    assert "           packets of your own: host 192.0.2.1\n" in shown
    assert "protected  nothing\n" in planned("udp", "--no-protect")
    assert "protected  nothing that can match\n" in planned("udp dst port 4321")
