# SPDX-License-Identifier: Apache-2.0
"""Match, asked without a kernel: its arguments, and the errors for impossible ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from offramp import HashSet, Match, MatchError, OptionError
from offramp.lower.meaning import lower
from offramp.match import And, IsProtocol, Mpls, Not, Protocol

FRAME = bytes(60)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda match: match.verdicts([FRAME], [-1]), r"lengths\[0\]=-1: not a number of bytes"),
        (lambda match: match.verdicts([FRAME], [1 << 32]), r"lengths\[0\]=4294967296: not a number of bytes"),
        (lambda match: match.verdicts([FRAME] * 2, [60, "60"]), r"lengths\[1\]='60': not a number of bytes"),
        (lambda match: match.verdicts([FRAME], [60.0]), r"lengths\[0\]=60.0: not a number of bytes"),
        (lambda match: match.verdicts([FRAME], 60), "lengths=60: not a list"),
        (lambda match: match.verdicts([FRAME], []), "as many lengths as packets"),
        (lambda match: match.verdicts([FRAME], [59]), "packet 0 has 60 bytes, more than its length on the wire, 59"),
        (lambda match: match.matches(FRAME, -1), "length=-1: not from 0 to 4294967295"),
        (lambda match: match.matches(FRAME, "60"), "length='60': not a whole number"),
        (lambda match: match.verdicts(5), "packets=5: not a list"),
        (lambda match: match.verdicts(FRAME), r"one packet, but several are expected .matches\(packet\)"),
        (lambda match: match.verdicts([FRAME, "text"]), "packet 1, a str, is no memory of bytes .bytes, bytearray,"),
        (lambda match: match.verdicts([np.zeros(60, np.uint16)]), "packet 0, a ndarray, is no memory of bytes"),
        (
            lambda match: match.matches(memoryview(FRAME)[::2]),
            r"packet 0, a memoryview, is memory that is not contiguous .bytes\(packet\) is a copy that is",
        ),
    ],
)
def test_packets_that_cannot_be(ask: Callable[[Match], Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        ask(Match("udp"))


def test_lengths_are_those_of_any_list() -> None:
    match = Match("greater 100")
    for lengths in ([60, 100], (60, 100), np.array([60, 100], np.uint32), iter([60, 100])):
        assert match.verdicts([FRAME, FRAME], lengths).tolist() == [False, True]


@pytest.mark.parametrize("netmask", ["255.255.255.0", "/24", "24", 24])
def test_netmasks(netmask: str | int) -> None:
    match = Match("ip broadcast", netmask)
    assert match == Match("ip broadcast", "255.255.255.0")
    assert repr(match) == "Match('ip broadcast', '255.255.255.0')"


@pytest.mark.parametrize("wrong", ["255.0.255.0", "0.0.0.255", "/33", -1, "", "10.0.0.0/8", True, 24.0, b"/24"])
def test_what_is_no_netmask(wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"netmask=.*: not a netmask: all ones have to come before the zeros"):
        Match("ip broadcast", wrong)


@pytest.mark.parametrize("text", ["ip broadcast", "not ip broadcast", "udp and not (tcp or ip broadcast)"])
def test_the_caret_of_an_unknown_netmask(text: str) -> None:
    with pytest.raises(MatchError, match="the netmask is not known") as caught:
        Match(text).matches(FRAME)
    shown, caret = str(caught.value).splitlines()[1:]
    assert shown[caret.index("^") : caret.rindex("^") + 1] == "ip broadcast"
    assert shown.strip() == text


def test_a_tree_is_refused_as_its_text_would_be() -> None:
    tree = And((Mpls(), Not(IsProtocol(Protocol.ARP))))
    with pytest.raises(MatchError, match="behind mpls only IPv4 and IPv6 can be told apart") as caught:
        lower(tree)
    assert (caught.value.text, caught.value.position) == ("mpls and not arp", len("mpls and not "))


def test_a_match_is_lowered_once() -> None:
    match = Match("src host in @hosts", hosts=HashSet(["10.0.0.1"]))
    assert match.lowered() is match.lowered(0xFFFFFF00)
    broadcast = Match("ip broadcast")
    assert broadcast.lowered(0xFFFFFF00) != broadcast.lowered(0xFFFF0000)
    fixed = Match("ip broadcast", "/24")
    assert fixed.lowered() is fixed.lowered(0xFFFF0000)
