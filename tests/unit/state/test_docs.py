# SPDX-License-Identifier: Apache-2.0
"""docs/sets.md tells the truth: its examples give what they say, and its figures are those that were measured."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from offramp import HashSet, OptionError, PrefixSet
from offramp.emit.size import MAX_STATE
from offramp.gen.packets import eth, ip, udp

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/sets.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FRAME = eth(ip(udp(sport=4096, dport=53), src="203.0.113.7", dst="10.0.0.2"))


def said(line: str) -> str:
    """What a line says of its value, or prints: `len(nets)  # 2`."""
    return line.partition("  # ")[2]


def test_the_examples_say_what_stands_behind_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as somebody would type them."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"from_203_0_113_7": FRAME}
    checked = 0
    for example in EXAMPLES:
        lines = example.splitlines()
        for node in ast.parse(example).body:
            shown = lines[node.lineno - 1 : node.end_lineno]
            if isinstance(node, ast.Expr):
                value, remark = eval(ast.unparse(node), names), said(shown[-1])
                if remark and (value is not None or remark == "None"):
                    assert repr(value) == remark, shown
                    checked += 1
            else:
                out = StringIO()
                with redirect_stdout(out):
                    exec(ast.unparse(node), names)
                printed = [said(line) for line in shown if "print(" in line]
                assert out.getvalue().splitlines() == printed
                checked += len(printed)
    assert checked > 20


def test_a_saved_set_looks_like_that(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```file\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    PrefixSet(["203.0.113.0/24", "198.51.100.7"]).save(tmp_path / "set")
    assert (tmp_path / "set").read_text() == example


def test_the_figures_are_those_that_were_measured() -> None:
    results = (ROOT / "bench/RESULTS.md").read_text()
    rows = re.findall(r"^\| (HashSet|PrefixSet) (ip6?) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|$", results, re.MULTILINE)
    assert len(rows) == 8

    def claimed(pattern: str) -> tuple[float, float]:
        found = re.search(pattern, PAGE.replace("\n", " "))
        assert found is not None
        return 0.9 * float(found[1]), 1.1 * float(found[2] or found[1])

    for kind, family, elements, member, other in rows:
        if kind == "HashSet":
            least, most = claimed(r"HashSet takes (\d+) to (\d+) ns")
        elif elements == "1,000,000":
            version = {"ip": 4, "ip6": 6}[family]
            least, most = claimed(rf"a million IPv{version} networks (?:take )?(\d+) (?:to (\d+) )?ns")
        else:
            continue
        for figure in (member, other):
            assert round(least) <= round(float(figure)) <= most, (kind, family, elements)


@pytest.mark.parametrize(
    ("row", "make", "family"),
    [
        ("HashSet of IPv4 or Ethernet addresses", HashSet, "ip"),
        ("HashSet of IPv4 or Ethernet addresses", HashSet, "ether"),
        ("HashSet of IPv6 addresses", HashSet, "ip6"),
        ("PrefixSet of IPv4 networks", PrefixSet, "ip"),
        ("PrefixSet of IPv6 networks", PrefixSet, "ip6"),
    ],
)
def test_the_largest_sets(row: str, make: Callable[..., HashSet | PrefixSet], family: str) -> None:
    found = re.search(rf"^\| {row} \| ([\d,]+) \| (\d+) MiB \| (\d+) MiB \|$", PAGE, re.MULTILINE)
    assert found is not None
    most = int(found[1].replace(",", ""))
    sizes = [make(family=family, capacity=capacity).nbytes / (1 << 20) for capacity in (65_536, most)]
    assert [round(size) for size in sizes] == [int(found[2]), int(found[3])]
    with pytest.raises(OptionError, match="does not fit"):
        make(family=family, capacity=most + 1)


def test_the_most_sets() -> None:
    assert f"One match looks into {MAX_STATE} sets at most" in PAGE
    assert f"| sets, named or spelled out | {MAX_STATE} |" in (ROOT / "docs/match.md").read_text()
