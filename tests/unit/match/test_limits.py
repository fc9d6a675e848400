# SPDX-License-Identifier: Apache-2.0
"""Absurd input gets its answer quickly, and in little memory; long input that makes sense is parsed in time."""

from __future__ import annotations

import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.errors import MatchError
from offramp.match import Address, And, Node, Not, Or, parse, text
from offramp.match.parse import MAX_TEXT
from tests.rigs.imported import loaded_by

MEGABYTE = 1_000_000


def timed(source: str) -> tuple[Node, float]:
    begin = time.perf_counter()
    tree = parse(source)
    return tree, time.perf_counter() - begin


@pytest.mark.parametrize(
    "source",
    [
        "(" * 100_000 + "tcp" + ")" * 100_000,
        "(" * MEGABYTE,
        ")" * MEGABYTE,
        "not " * 100_000 + "tcp",
        "!" * MEGABYTE,
        "not (" * 100_000,
        "port " + "(" * 100_000 + "80" + ")" * 100_000,
        "port 80 and " + "not " * 100_000 + "443",
        "tcp and udp or " * 50_000 + "tcp",
        "ip[" * 100_000 + "0" + "]" * 100_000 + " == 1",
        "- " * 100_000 + "1 == 1",
        "1 + " * 100_000 + "1 == 1",
        "1 % " * 100_000 + "1 == 1",
        "len == " + "(" * 100_000 + "1",
        "vlan " + "(" * 100_000 + "5000" + ")" * 100_000,
        "a" * MEGABYTE,
        "a-" * (MEGABYTE // 2),
        "a" + "-" * MEGABYTE,
        "a." * (MEGABYTE // 2) + "-",
        "\\" + "a" * MEGABYTE,
        "port " + "9" * MEGABYTE,
        "port 0" + "9" * MEGABYTE,
        "port 0x" + "f" * MEGABYTE,
        "portrange 1-" + "9" * MEGABYTE,
        "portrange " + "1-" * MEGABYTE + "1",
        "host 1." + "9" * MEGABYTE,
        "host " + "1." * (MEGABYTE // 2) + "1",
        "host " + ":" * MEGABYTE,
        "host 1" + ":" * MEGABYTE,
        "host " + "1:" * (MEGABYTE // 2),
        "host ::1." + "9" * MEGABYTE,
        "tcp or @" + "a" * MEGABYTE,
        "udp port @" + "a" * MEGABYTE,
        "tcp or " * (MAX_TEXT // 7) + "tcp",
        " " * MEGABYTE + "?",
        "\0" * MEGABYTE,
        "\N{SNOWMAN}" * MEGABYTE,
    ],
    ids=lambda source: ascii(source[:15]),
)
def test_absurd_input_is_refused_quickly(source: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(MatchError) as caught:
        parse(source)
    assert time.perf_counter() - begin < 2
    assert len(caught.value.what) < 300
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    "source", ["a" * MEGABYTE, "(" * MEGABYTE, "tcp udp" * 100_000, "::" * 400_000, "1-" * 400_000]
)
def test_garbage_needs_little_memory(source: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MatchError):
            parse(source)
        assert tracemalloc.get_traced_memory()[1] < 20 * MEGABYTE
    finally:
        tracemalloc.stop()


PREFIXES = [f"{10 + i % 200}.{i // 256 % 256}.{i % 256}.0/24" for i in range(100_000)]


@pytest.mark.parametrize("head", ["net ", "src net ", "ip dst net "])
def test_a_hundred_thousand_prefixes(head: str) -> None:
    tree, seconds = timed(" or ".join(head + prefix for prefix in PREFIXES))
    assert isinstance(tree, Or)
    assert len(tree.parts) == 100_000
    assert all(isinstance(part, Address) for part in tree.parts)
    assert seconds < 5
    juxtaposed, seconds = timed(head + " or ".join(PREFIXES))
    assert juxtaposed == tree
    assert seconds < 5
    assert parse(text(tree)) == tree


def test_other_long_lists() -> None:
    for source, count in (
        ("host " + " or ".join(f"10.0.{i >> 8}.{i & 255}" for i in range(10_000)), 10_000),
        (" or ".join(f"ip6 host 2001:db8::{i:x}" for i in range(10_000)), 10_000),
        ("net " + " or ".join(f"2001:db8:{i:x}::/48" if i % 3 else PREFIXES[i] for i in range(10_000)), 10_000),
        (" and ".join(f"not src host 10.0.{i >> 8}.{i & 255}" for i in range(10_000)), 10_000),
        ("port " + " or ".join(map(str, range(65536))), 65536),
        ("ether host " + " or ".join(f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}" for i in range(10_000)), 10_000),
    ):
        tree, seconds = timed(source)
        assert isinstance(tree, And | Or)
        assert len(tree.parts) == count
        assert seconds < 5


def test_a_mistake_at_the_end_of_a_long_list_is_found() -> None:
    source = "net " + " or ".join(PREFIXES) + " or 10.0.0.1/8"
    with pytest.raises(MatchError, match="non-network bits") as caught:
        parse(source)
    assert caught.value.position == len(source) - len("10.0.0.1/8")


def test_deep_matches_that_are_allowed() -> None:
    deep = parse("not " * 98 + "tcp")
    assert parse(text(deep)) == deep
    assert repr(deep).count("Not") == 98
    assert hash(deep) == hash(parse("not " * 98 + "tcp"))
    assert parse("(" * 90 + "tcp" + ")" * 90) == parse("tcp")
    assert parse("1 + " * 90 + "1 == 1") == parse("(" * 90 + "1" + " + 1)" * 90 + " == 1")
    alternating = parse("tcp and udp or " * 45 + "tcp")
    assert parse(text(alternating)) == alternating
    assert isinstance(Not(deep), Not)


def test_a_fresh_process_parses_at_once() -> None:
    """The room needs no heavy module: dataclasses alone would cost more than all of it."""
    code = "from offramp.match import parse; parse('udp dst port 53 and not src net 10.0.0.0/8')"
    loaded = loaded_by(code, after="import offramp.errors")
    assert "offramp.match.parse" in loaded
    assert not {"dataclasses", "inspect", "ipaddress", "difflib", "socket", "ast"} & loaded


@given(st.text(st.sampled_from(" ()!&|=<>[]:/.-0123456789abcdefip6tcpudosrhne\\@$\0é\n"), max_size=40) | st.text())
def test_any_text_is_a_match_or_a_match_error(source: str) -> None:
    try:
        tree = parse(source)
    except MatchError as error:
        refused = error
    else:
        assert parse(text(tree)) == tree
        return
    assert 0 <= refused.position <= len(source)
    assert re.search(r"\w", refused.what)
    assert str(refused)
