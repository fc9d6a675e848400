# SPDX-License-Identifier: Apache-2.0
"""`offramp run` when somebody takes its program, its interface or its settings: it says so, and never counts zeros."""

from __future__ import annotations

import json
import signal
from itertools import product

import pytest

from offramp.errors import Detached, InterfaceGone
from offramp.testing import Lab
from tests.kernel.cli.test_cli import FLOW, end, figure, running
from tests.rigs.taken import CAUSES, QUEUES, Cause, channels, shrunk
from tests.rigs.traffic import send

pytestmark = [pytest.mark.speed, pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")]

ENDS: dict[type[Exception], str] = {
    Detached: "offramp: XDP on eth0: ",
    InterfaceGone: "offramp: eth0 was removed, or moved to another network",
}
STEPS = [
    (cause, do, mode)
    for cause, do, mode in product(CAUSES, ("count", "drop", "echo"), ("native", "generic"))
    if cause.claims is not (do == "drop") or cause.claims is None
]
FIXED = [each for each in STEPS if each[0].ends][::7] + [each for each in STEPS if not each[0].ends][::17]


def step(cause: Cause, do: str, mode: str) -> None:
    with Lab() as lab:
        wire = shrunk(lab)
        with running(wire.b.host, *FLOW, "--do", do, "--mode", mode, "--json") as process:
            send(wire, 10)
            cause.act(lab, wire)
            if cause.ends is None:
                assert process.poll() is None
                out, err = end(process)
            else:
                out, err = process.communicate(timeout=10)
                assert process.returncode == 1
                assert err.splitlines()[-1].startswith(ENDS[cause.ends]), err
        ledger = json.loads(out)["ledger"]
        assert sum(ledger[name] for name in ("claimed", "redirect_failed", "early")) >= 10  # of a slow start
        assert ledger["exact"]
        assert bool(ledger["detached"]) is (cause.ends is Detached)
        told = [json.loads(line)["kind"] for line in err.splitlines() if line.startswith("{")]
        assert cause.ends is None or cause.kind in told, told


@pytest.mark.parametrize(("cause", "do", "mode"), FIXED, ids=lambda each: getattr(each, "name", each))
def test_it_ends_with_an_error_or_goes_on(cause: Cause, do: str, mode: str) -> None:
    step(cause, do, mode)


@pytest.mark.soak
@pytest.mark.parametrize(("cause", "do", "mode"), STEPS, ids=lambda each: getattr(each, "name", each))
def test_all_of_it(cause: Cause, do: str, mode: str) -> None:
    step(cause, do, mode)


def test_what_it_prints_when_its_link_is_detached(lab: Lab) -> None:
    wire = shrunk(lab)
    (cause,) = (cause for cause in CAUSES if cause.name == "link detached")
    with running(wire.b.host, *FLOW, "--do", "drop") as process:
        send(wire, 10)
        cause.act(lab, wire)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert figure(out, "dropped") == 10
    told, error = err.splitlines()[-2:]
    assert told == "offramp: eth0: XDP is detached: somebody has detached its link"
    assert error.startswith("offramp: XDP on eth0: somebody has detached its link (")


def test_it_tells_within_some_seconds_that_there_are_more_queues(lab: Lab) -> None:
    wire = shrunk(lab)
    with running(wire.b.host, *FLOW, "--do", "count", "--json") as process:
        channels(wire, QUEUES + 1)
        assert process.stderr is not None
        line = process.stderr.readline()
        while "queues-changed" not in line:
            line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    event = json.loads(line)
    assert event["details"] == {"queues": QUEUES + 1}
    assert event["text"] == (
        "it has 3 receive queues now, and had 2 when this was opened: matching packets on queue 2 stay with the "
        "kernel, as redirect_failed"
    )
