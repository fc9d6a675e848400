# SPDX-License-Identifier: Apache-2.0
"""Each recipe of docs/recipes.md, run as it stands, on an interface eth0 to which UDP packets for port 4321 come."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Literal

import pytest

from offramp.testing import Flood, Lab
from tests.rigs.traffic import frame

pytestmark = pytest.mark.speed  # of starting an interpreter

PAGE = (Path(__file__).parents[3] / "docs/recipes.md").read_text()
RECIPES = dict(re.findall(r"^## (.+?)\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
PRINTS = {  # what a recipe has to say, as far as the flood decides it
    "Watch, and take nothing": r"[1-9][\d,]* of [1-9][\d,]*",
    "Top talkers": r"[\d.]+ [1-9][\d,]*",
    "Addresses for people": r"10\.0\.0\.1\nfc00::1",
    "scapy on a packet": "Ether / IP / UDP",
    "Two ramps in one asyncio program": r"(?m)^[1-9]\d*$",
    "Two matches, two verdicts": r"^[1-9]\d* 0$",
    "Echo": r"^[1-9]\d*$",
    "Echo with another payload": r"^[1-9]\d*$",
    "Block a source after N packets": r"^1 [1-9]\d*$",
    "Send at a rate": r"^5000$",
}


def test_the_page_has_a_recipe_below_each_title() -> None:
    assert [*RECIPES] == re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert {*PRINTS} <= {*RECIPES}


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe(lab: Lab, tmp_path: Path, title: str) -> None:
    if title == "pandas":
        pytest.importorskip("pandas")
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    vary: Literal["none", "src"] = "none" if title.startswith("Block") else "src"
    with Flood(wire.a, frame(wire), vary=vary, rate=10_000, cpu=None, seconds=20.0):
        command = [sys.executable, "-W", "ignore::UserWarning", "-c", RECIPES[title]]
        done = wire.b.host.run(["env", "-C", str(tmp_path), *command], check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(PRINTS.get(title, ""), done.stdout.strip()), done.stdout
