# SPDX-License-Identifier: Apache-2.0
"""`offramp run --do echo` where sending is not as easy as receiving: it ends in time, and counts what is so."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from offramp import nic
from offramp.testing import Lab, Wire
from tests.rigs.links import veth
from tests.rigs.traffic import PORT
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # it would take long in a slow guest

OFFRAMP = str(Path(sys.executable).with_name("offramp"))
PIPES = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
PACKETS, FLOWS = 400, 40
SECONDS = 3


def echo(wire: Wire, *words: str) -> tuple[dict[str, int], str, float]:
    """Sends packets of many flows to it. Returns its ledger, what it said, and how long it took from the first packet
    to its end.
    """
    command = ["run", "near", "udp", "dst", "port", str(PORT), "--do", "echo", "--for", f"{SECONDS}s", "--json", *words]
    process = wire.b.host.popen([OFFRAMP, *command], **PIPES)
    try:
        with wire.b.host:
            assert eventually(lambda: nic.read("near").xdp is not None or process.poll() is not None, 20.0)
        assert process.poll() is None, process.communicate()
        start = time.monotonic()
        time.sleep(0.5)
        with wire.a.host:
            senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(FLOWS)]
            for number in range(PACKETS):
                senders[number % FLOWS].sendto(b"%5d" % number, (wire.b.ip, PORT))
            for sender in senders:
                sender.close()
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        return json.loads(out)["ledger"], err, time.monotonic() - start
    finally:
        wire.b.host.kill(process)


@pytest.mark.speed  # of ending
def test_four_receive_queues_and_one_transmit_queue(lab: Lab) -> None:
    """Everything comes back, and it takes as long as it was told to."""
    ledger, err, took = echo(veth(lab, (4, 1), (1, 4)))
    assert (ledger["received"], ledger["sent"], ledger["completed"]) == (PACKETS, PACKETS, PACKETS)
    assert ledger["tx_ring_full"] == ledger["tx_dropped"] == 0
    assert took < SECONDS + 2
    assert "Traceback" not in err


def test_queues_that_cannot_send_are_refused(lab: Lab) -> None:
    wire = veth(lab, (4, 1), (1, 4))
    words = ["run", "near", "udp", "--do", "echo", "--queues", "2", "--queues", "3", "--for", "1s"]
    done = wire.b.host.run([OFFRAMP, *words], check=False)
    assert done.returncode == 1
    assert (
        "--do echo on near: its queues 2, 3 have no transmit queue beside them (also listen on queue 0)" in done.stderr
    )


def test_the_plan_says_which_queue_sends(lab: Lab) -> None:
    wire = veth(lab, (4, 1), (1, 4))
    said = wire.b.host.run([OFFRAMP, "plan", "near", "udp", "--do", "echo"]).stdout
    assert "what came in on queues 1, 2, 3 is sent from queue 0" in said
    plan = json.loads(wire.b.host.run([OFFRAMP, "plan", "near", "udp", "--do", "echo", "--json"]).stdout)
    assert plan["send_queues"] == [0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run near udp --do count --require zero-copy", "near: no zero-copy with veth: it does not support it"),
        ("plan near udp --require zero-copy", "near: no zero-copy with veth: it does not support it"),
        ("run near udp --do count --ring 8192", "ring=8192: 4096 frames are too few for it"),
        ("plan near udp --ring 8192", "also give frames=16384"),
    ],
)
def test_a_demand_that_cannot_be_met_has_one_cause_and_a_remedy(lab: Lab, words: str, said: str) -> None:
    done = veth(lab, (1, 1)).b.host.run([OFFRAMP, *words.split()], check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "falls back" not in done.stderr


def test_the_remedy_for_a_large_ring_works(lab: Lab) -> None:
    host = veth(lab, (1, 1)).b.host
    host.run([OFFRAMP, "run", "near", "udp", "--do", "count", "--ring", "8192", "--frames", "16384", "--for", "100ms"])
