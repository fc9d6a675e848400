# SPDX-License-Identifier: Apache-2.0
"""The table: each row is whole, means what its protocol's frames are, and stands in the documents."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from offramp.facts.found import DAEMONS
from offramp.lower.evaluate import evaluate
from offramp.lower.meaning import lower
from offramp.match import parse
from offramp.options import TABLE
from offramp.protection import KEPT, PROTECTED, ROWS, Row
from tests.generators.packets import Packets
from tests.generators.protected import NEIGHBOURS, PROTECTED_FRAMES
from tests.oracles.libpcap import Filter

DOCS = Path(__file__).parents[3] / "docs"
BY_NAME = {row.name: row for row in ROWS}


def matches(row: Row, frame: bytes) -> bool:
    return evaluate(lower(parse(f"vlan any and ({row.match})")).expr, frame)


@pytest.mark.parametrize("row", ROWS, ids=BY_NAME)
def test_a_row_is_whole(row: Row) -> None:
    assert row.why[0].islower() or row.why.startswith("CARP")
    assert not row.why.endswith(".")
    assert row.source
    assert str(row) == f"{row.name}: without it, {row.why}"
    assert row.name in PROTECTED.split(", ") or row.name in DAEMONS


def test_names_are_those_of_the_daemons_and_each_stands_once() -> None:
    assert len(BY_NAME) == len(ROWS)
    assert set(DAEMONS) <= set(BY_NAME)


def test_there_are_frames_of_each_row() -> None:
    assert {name for name, _ in PROTECTED_FRAMES} == set(BY_NAME) == {name for name, _ in NEIGHBOURS}


@pytest.mark.parametrize(("name", "frame"), PROTECTED_FRAMES)
def test_its_frames_are_of_the_row(name: str, frame: bytes) -> None:
    tagged = frame[:12] + bytes.fromhex("88a8000581000006") + frame[12:]
    assert matches(BY_NAME[name], frame)
    assert matches(BY_NAME[name], tagged)
    with Filter(BY_NAME[name].match, optimize=False) as oracle:
        assert oracle(frame)


@pytest.mark.parametrize(("name", "frame"), NEIGHBOURS)
def test_what_is_nearly_of_the_row_is_not(name: str, frame: bytes) -> None:
    assert not matches(BY_NAME[name], frame)
    with Filter(BY_NAME[name].match, optimize=False) as oracle:
        assert not oracle(frame)


@pytest.mark.parametrize("row", ROWS, ids=BY_NAME)
def test_libpcap_has_the_same_idea_of_it(row: Row) -> None:
    packets = Packets(11).pool(1500)
    for _, frame in (*PROTECTED_FRAMES, *NEIGHBOURS):
        packets += [type(packets[0])(frame[:end], len(frame)) for end in range(14, len(frame) + 1)]
    expr = lower(parse(row.match)).expr
    with Filter(row.match, optimize=False) as oracle:
        for data, length in packets:
            assert evaluate(expr, data, length) == oracle(data, length), data.hex()


def test_the_document_has_the_table() -> None:
    spec = importlib.util.spec_from_file_location("reference", DOCS.parent / "packaging/reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    text = (DOCS / "protection.md").read_text()
    assert reference.protection(text) == text, "make man"
    assert set(re.findall(r"(?m)^\*\*(.*)\*\*$", text)) == set(BY_NAME)


def test_the_option_says_what_is_protected() -> None:
    """Its sentence is text of a room below the planner's."""
    assert TABLE["protect"].sentence.startswith(f"{KEPT} (")
    named = TABLE["protect"].sentence.partition("(")[2].partition(" and more")[0]
    words = [word for row in ROWS for word in (row.name, "SSH")]
    assert set(named.split(", ")) <= set(words)
