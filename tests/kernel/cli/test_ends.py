# SPDX-License-Identifier: Apache-2.0
"""How the command ends: at Ctrl-C in each moment, and with output that cannot be written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from offramp.testing import Lab, Wire

pytestmark = pytest.mark.speed  # of starting a command

OFFRAMP = str(Path(sys.executable).with_name("offramp"))


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return lab.wire(lab.host("a"), lab.host("b"), neighbours=True)


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------

VERBS = {  # the line: the statuses that it may end with when it is interrupted, at whatever moment
    "run eth0 udp --do count": (0, 130),
    "run eth0 udp --do pass --json": (0, 130),
    "plan eth0 udp": (0, 130),
    "doctor eth0": (0, 130),
    "nic eth0 --watch": (0, 130),
    "help": (0, 130),
}
# Before this the interpreter itself starts, and is not ours.
COMMAND = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
os.write(2, b"begins\\n")
from offramp.__main__ import main
sys.argv[0] = "offramp"
sys.exit(main())
"""


@pytest.mark.parametrize("line", VERBS)
def test_control_c_is_quiet_at_any_moment_even_twice(wire: Wire, line: str) -> None:
    for number in range(4):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = wire.b.host.popen([sys.executable, "-c", COMMAND, *line.split()], **pipes)
        assert process.stderr is not None
        assert process.stderr.readline() == "begins\n"
        time.sleep(number * 0.15)
        process.send_signal(signal.SIGINT)
        if number % 2:
            time.sleep(0.001)
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode in VERBS[line], (number, err)
        assert all(said.startswith(("offramp: ", "{")) for said in err.splitlines()), err
        assert "bug" not in err


@pytest.mark.parametrize("line", ["doctor", "help", "--version", "plan eth0 udp"])
def test_output_that_cannot_be_written_is_said(wire: Wire, line: str) -> None:
    command = f"{OFFRAMP} {line}"
    for redirection, why in (
        (">&-", "Bad file descriptor [EBADF]"),
        (">/dev/full", "No space left on device [ENOSPC]"),
    ):
        done = wire.b.host.run(["sh", "-c", f"{command} {redirection}"], check=False)
        assert (done.returncode, done.stderr) == (1, f"offramp: the output cannot be written: {why}\n")
    done = wire.b.host.run(["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"], check=False)
    assert done.returncode in (0, 1)  # 0: it was all in the pipe before its reader had gone
    assert done.stderr == ""


def test_closed_streams(wire: Wire) -> None:
    done = wire.b.host.run(["sh", "-c", f"{OFFRAMP} plan eth0 -F - <&-"], check=False)
    assert done.returncode == 0  # an empty file: every packet
    done = wire.b.host.run(["sh", "-c", f"{OFFRAMP} run eth0 udp --do drop --for 1 >&-"], check=False)
    assert (done.returncode, done.stderr) == (1, "offramp: the output cannot be written: Bad file descriptor [EBADF]\n")
    done = wire.b.host.run(["sh", "-c", f"{OFFRAMP} plan eth0 nonsense 2>&-"], check=False)
    assert done.returncode == 2
