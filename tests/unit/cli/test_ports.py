# SPDX-License-Identifier: Apache-2.0
"""`offramp ports`: every kind and wrapper, in any width, and what is missing for those who have no privileges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from offramp.cli import main
from offramp.ports.kinds import port_kinds


def page(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(("ports", *arguments)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def without_privileges(*arguments: str) -> str:
    """What it says to somebody who may do nothing, whoever runs this test."""
    nobody = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"] if os.geteuid() == 0 else []
    command = [*nobody, sys.executable, "-m", "offramp", "ports", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_all_is_said_in_any_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = page(capsys)
    assert max(map(len, text.splitlines())) <= min(columns, 100)
    unfolded, words = "".join(text.split()), " ".join(text.split())
    for kind in port_kinds():
        assert kind.syntax.replace(" ", "") in unfolded
        assert kind.about in words
        assert f"needs {kind.needs or 'what the port inside it needs'} here " in words
        for option in kind.options:
            assert f"{option.name} {option.about}: {option.allowed}; default: {option.default}" in words


def test_kinds_and_wrappers_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(page(capsys, "--json"))
    assert [kind["name"] for kind in found["kinds"]] == ["af_xdp", "loop", "null"]
    assert [kind["name"] for kind in found["wrappers"]] == ["faults", "trace"]
    told = [asdict(kind) for kind in port_kinds()]
    assert found["kinds"] + found["wrappers"] == json.loads(json.dumps(told))
    assert {
        "name": "ring",
        "about": "entries of each ring",
        "allowed": "a power of two up to 65536",
        "default": "2048",
    } in (found["kinds"][1]["options"])


def test_who_lacks_a_privilege_is_told_which() -> None:
    af_xdp, *others = json.loads(without_privileges("--json"))["kinds"]
    assert (af_xdp["usable"], af_xdp["reason"]) == (False, "CAP_NET_RAW is missing: run as root")
    assert all(kind["usable"] for kind in others)
    assert "here   not usable: CAP_NET_RAW is missing: run as root\n" in without_privileges()


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_root_may_use_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not usable" not in page(capsys)
