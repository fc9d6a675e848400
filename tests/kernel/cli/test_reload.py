# SPDX-License-Identifier: Apache-2.0
"""`offramp run -F FILE --reload`: the match in force is what the file says, and events are told as they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from offramp.testing import Wire
from tests.kernel.cli.test_cli import end, figure, offramp, running
from tests.rigs.traffic import PORT, send

pytestmark = pytest.mark.speed  # of starting a command


@pytest.fixture
def match(tmp_path: Path) -> Path:
    path = tmp_path / "match"
    path.write_text(f"udp dst port {PORT}\n")
    return path


def line(process: subprocess.Popen[str], wanted: str) -> str:
    """The next line on stderr that has that; the others before it are passed over."""
    assert process.stderr is not None
    for said in process.stderr:
        if wanted in said:
            return said
    raise AssertionError(f"{wanted} was never said")


@pytest.mark.parametrize("do", ["drop", "count"])
def test_another_match_within_a_second_and_at_once_on_sighup(wire: Wire, match: Path, do: str) -> None:
    with running(wire.b.host, "eth0", "-F", str(match), "--do", do, "--reload") as process:
        send(wire, 10)
        time.sleep(0.3)
        match.write_text(f"udp dst port {PORT + 1}")
        line(process, f"udp dst port {PORT + 1} in the place of udp dst port {PORT}")
        send(wire, 20)
        send(wire, 40, port=PORT + 1)
        time.sleep(0.3)
        other = match.with_name("other")
        other.write_text(f"udp dst port {PORT + 2}  # renamed, as editors do")
        os.rename(other, match)
        process.send_signal(signal.SIGHUP)
        line(process, f"udp dst port {PORT + 2} in the place of")
        send(wire, 80, port=PORT + 2)
        time.sleep(0.3)
        out, _ = end(process)
    assert figure(out, "dropped" if do == "drop" else "received") == 10 + 40 + 80
    assert f"udp dst port {PORT + 2}" in out, "the title is that of the last one"


def test_a_bad_file_leaves_the_old_one_in_force(wire: Wire, match: Path) -> None:
    with running(wire.b.host, "eth0", "-F", str(match), "--do", "drop", "--reload", "--json") as process:
        match.write_text("udp dst prot 53")
        said = json.loads(line(process, "not-replaced"))
        assert said["kind"] == "not-replaced"
        assert said["text"].startswith(f"-F {match}: the match stays as it was: ")
        match.unlink()
        assert "No such file" in json.loads(line(process, "not-replaced"))["text"]
        send(wire, 10)
        match.write_text(f"udp dst port {PORT + 1}")
        assert json.loads(line(process, "replaced"))["details"]["match"] == f"udp dst port {PORT + 1}"
        send(wire, 20)
        time.sleep(0.3)
        out, _ = end(process)
    assert json.loads(out)["packets"] == 10


def test_there_has_to_be_a_file(wire: Wire) -> None:
    for words in (["udp"], ["-F", "-"]):
        error = offramp(wire.b.host, "run", "eth0", *words, "--do", "drop", "--reload", status=2).stderr
        assert "--reload: there is no file to follow (-F FILE reads the match from one)" in error
