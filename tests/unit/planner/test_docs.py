# SPDX-License-Identifier: Apache-2.0
"""docs/planning.md: its examples are what `offramp plan` prints, and its figures are those of the model."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import pytest

from offramp.cli.parameters import Do, chosen
from offramp.facts.found import Found
from offramp.facts.imagined import imagined
from offramp.facts.records import DRIVERS, record
from offramp.lower.meaning import lower
from offramp.match import parse
from offramp.planner import Situation, assume, explain, make_plan
from offramp.planner import cost as model
from offramp.protection import Protection
from offramp.verdict import Verdict

PAGE = (Path(__file__).parents[3] / "docs/planning.md").read_text()
EXAMPLES = re.findall(r"    \$ offramp plan (.*)\n((?:    .*\n)+)", PAGE)


def printed(line: str) -> str:
    """What `offramp plan LINE` prints, for an interface that is not here."""
    interface, match, *words = shlex.split(line)
    options = dict(zip(words[::2], words[1::2], strict=True))
    known = record(options.pop("--caps"))
    assert known is not None
    rate = options.pop("--rate", None)
    asked = chosen(Do.COUNT, {name.removeprefix("--"): value for name, value in options.items()})
    able, assumed = assume(known, interface)
    node = parse(match)
    protection = Protection.of(Found(), lower(node))
    made = make_plan(Situation(node, Verdict.CLAIM, imagined(able), asked, protection, able, assumed=assumed))
    return explain(made, None if rate is None else float(rate))


def folded(line: str) -> list[str]:
    """As the page shows a line: indented, and folded where it is too long for a document."""
    shown = f"    {line}"
    indent = len(shown) - len(shown.lstrip()) + 4
    return textwrap.wrap(shown, 120, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


@pytest.mark.parametrize(("line", "output"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
def test_the_examples_are_what_is_printed(line: str, output: str) -> None:
    assert [part for shown in printed(line).splitlines() for part in folded(shown)] == output.splitlines()


def test_there_is_an_example_of_each_kind() -> None:
    drivers = {line.split("--caps ")[1].split()[0] for line, _ in EXAMPLES}
    assert {"ixgbe", "igb", "ena", "veth"} <= drivers <= set(DRIVERS)


@pytest.mark.parametrize("name", ["DRIVER", "COPY", "READ", "STACK", "CHECK", "HAND_BACK"])
def test_the_figures_of_the_model(name: str) -> None:
    assert re.search(rf"^\| {name} \| {getattr(model, name)} ", PAGE, re.MULTILINE)
