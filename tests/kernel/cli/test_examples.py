# SPDX-License-Identifier: Apache-2.0
"""The programs in examples/ and the snippets in README.md, run on real packets."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import offramp
from offramp.testing import Flood, Lab, Wire
from tests.rigs.traffic import MATCH, frame
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # of starting an interpreter

ROOT = Path(__file__).parents[3]
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
SETS = re.findall(r"```python interface\n(.*?)```", (ROOT / "docs/sets.md").read_text(), re.DOTALL)


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return lab.wire(lab.host("a"), lab.host("b"), queues=2)


def flood(wire: Wire, **options: float) -> Flood:
    """10,000 packets a second for UDP port 4321 of the second host."""
    return Flood(wire.a, frame(wire), rate=10_000, cpu=None, **options)  # type: ignore[arg-type]


def launch(wire: Wire, example: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "examples" / example), "eth0", *arguments]
    return wire.b.host.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start(wire: Wire, example: str, match: str, *arguments: str) -> subprocess.Popen[str]:
    """The example once it receives, as the first line that it writes says (a warning may come before)."""
    process = launch(wire, example, match, *arguments)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("listening on eth0"):
            return process
    raise AssertionError("".join(said))


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_without_arguments_an_example_says_how_it_is_used(example: str) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert f"{example} INTERFACE " in run.stderr
    assert "Traceback" not in run.stderr


def test_top_talkers(wire: Wire) -> None:
    process = start(wire, "top_talkers.py", MATCH, "1.5")
    with flood(wire, count=5000):
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert re.search(r"^ *198\.18\.\d+\.\d+ +\d+$", output, re.MULTILINE)
    assert re.search(r"^ *received +5,000$", output, re.MULTILINE)


def test_echo(wire: Wire) -> None:
    before = wire.a.stats()["rx_packets"]
    process = start(wire, "echo.py", MATCH)
    with flood(wire, count=3000) as source:
        source.wait()
        eventually(lambda: wire.a.stats()["rx_packets"] - before >= 3000, 10.0)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert re.search(r"^ *received +3,000$", output, re.MULTILINE)
    assert wire.a.stats()["rx_packets"] - before >= 3000


def test_blocklist(wire: Wire, tmp_path: Path) -> None:
    listed = tmp_path / "blocked.txt"
    listed.write_text("# nobody yet\n")
    process = launch(wire, "blocklist.py", str(listed))
    assert process.stdout is not None
    assert process.stdout.readline() == "0 networks\n"
    with flood(wire, seconds=20.0):
        listed.write_text("198.18.0.0/15  # the flood\n10.0.0.1\n")
        assert process.stdout.readline().startswith("2 networks; ")
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    dropped = re.search(r"^dropped +([\d,]+)", output, re.MULTILINE)
    assert dropped is not None
    assert int(dropped[1].replace(",", "")) > 0


def test_one_thread_per_queue(wire: Wire) -> None:
    process = start(wire, "one_thread_per_queue.py", MATCH, "1.5")
    with flood(wire, count=5000):
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    counts = [int(count.replace(",", "")) for count in re.findall(r"([\d,]+) packets", output)]
    assert len(counts) == 2
    assert sum(counts) == 5000


def test_sets_on_an_interface_are_as_their_page_says(wire: Wire) -> None:
    (snippet,) = SETS
    with wire.b.host, flood(wire, seconds=5.0):
        exec(compile(snippet, "sets.md", "exec"), {"time": time})


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"snippet {number}" for number in range(1, len(SNIPPETS) + 1)])
def test_the_readme_tells_the_truth(wire: Wire, snippet: str) -> None:
    """Each runs as it stands on an interface eth0 under flood; a loop over a ramp ends when the ramp is closed."""

    def close_all() -> None:
        for ramp in offramp.ramps():
            ramp.close()

    timer = threading.Timer(3.0, close_all)
    with wire.b.host, flood(wire, seconds=5.0):
        timer.start()
        names: dict[str, object] = {"__name__": "readme"}
        exec(compile(snippet, "README.md", "exec"), names)
        timer.cancel()
    if "ramp" in names:
        assert isinstance(names["ramp"], offramp.Ramp)
        assert names["ramp"].ledger().received > 0
