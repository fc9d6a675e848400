# SPDX-License-Identifier: Apache-2.0
"""`offramp plan` for interfaces that are elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from offramp.cli import main
from offramp.planner import Plan
from offramp.testing.software_nic import SoftwareNic

FLOW = ("ip", "and", "udp", "dst", "port", "4321")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(("plan", "eth2", *arguments)) == status
    out, err = capsys.readouterr()
    assert (out if status else err) == ""
    return err if status else out


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """What `offramp nic` says of an interface, as a file."""
    nic = SoftwareNic()
    path = tmp_path / "eth2.json"
    value = {"identity": asdict(nic.identity), "capabilities": nic.capabilities().to_dict(), "rates": {}}
    path.write_text(json.dumps(value))
    return path


def test_a_driver_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, *FLOW, "--caps", "ixgbe", "--rate", "12e6")
    assert page.startswith("CLAIM on eth2: ip and udp dst port 4321\n  layout     hidden queue 7, by rules\n")
    assert "12,000,000 matching packets per second take 0.65 cores" in page
    assert "assumed    8 receive queues" in page


def test_an_interface_that_is_not_here(capsys: pytest.CaptureFixture[str], saved: Path) -> None:
    page = said(capsys, *FLOW, "--caps", str(saved))
    assert "ethtool -N eth2 flow-type udp4 dst-port 4321 action 3 loc 7" in page
    assert "assumed" not in page


def test_as_json(capsys: pytest.CaptureFixture[str], saved: Path) -> None:
    line = said(capsys, *FLOW, "--caps", str(saved), "--json", "--layout", "hidden-queue", "--hidden-queue", "1")
    made = Plan.from_dict(json.loads(line))
    assert (made.hidden_queue, made.queues) == (1, (1,))
    assert json.dumps(made.to_dict()) == line.rstrip()
    assert said(capsys, *FLOW, "--caps", str(saved), "--json", "--hidden-queue", "1") == line
    with_rate = json.loads(said(capsys, *FLOW, "--caps", "ixgbe", "--json", "--rate", "1e6"))
    assert (with_rate["rate"], with_rate["cores"], with_rate["kernel_alone"]) == (1e6, 0.05, 0.21)


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        ("--caps no-such-driver", "--caps no-such-driver: not a known driver, and read as a file: No such file", 2),
        (
            "--caps ixgb",
            "--caps ixgb: not a known driver, and read as a file: No such file or directory (did you mean ixgbe?)",
            2,
        ),
        ("--caps FILE", "--caps FILE: not JSON (offramp nic IFACE --json writes it)", 2),
        ("--caps ixgbe --rate 0", "--rate 0: not from 1 to 1,000,000,000,000", 2),
        ("--caps ixgbe --rate nan", "--rate nan: not from 1 to 1,000,000,000,000", 2),
        ("--caps ixgbe --layout best", "--layout best: not one of auto, hidden-queue, in-driver, vf", 2),
        ("--caps ixgbe --layout hidden-queue --hidden-queue 8", "hidden_queue=8: eth2 has queues 0 to 7", 2),
        ("--caps ena --layout vf", "a VF on eth2: it has no virtual functions", 1),
        (
            "--caps ixgbe --vf 1 --do drop",
            "--vf with --do drop: the driver acts on the packets, so there is no socket",
            2,
        ),
    ],
)
def test_what_cannot_be(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: str, message: str, status: int
) -> None:
    file = tmp_path / "caps"
    file.write_text("{")
    words = [str(file) if word == "FILE" else word for word in arguments.split()]
    told = said(capsys, *FLOW, *words, status=status)
    assert told.startswith(f"offramp: {message.replace('FILE', str(file))}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "not an object"),
        ('{"schema": 9}', "this version of offramp reads schema 1"),
        ('{"capabilities": {"schema": 1, "mtu": "x"}}', "capabilities.mtu: 'x': not int"),
        ("[" * 100000, "not JSON"),
    ],
)
def test_files_that_are_something_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "caps.json"
    file.write_text(content)
    assert message in said(capsys, *FLOW, "--caps", str(file), status=2)
