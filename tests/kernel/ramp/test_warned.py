# SPDX-License-Identifier: Apache-2.0
"""Whoever opens or attaches is warned of a match that no packet can match."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import pytest

import offramp
from offramp import Attachment, OfframpWarning
from offramp.planner import NO_PACKET
from offramp.testing import Wire
from tests.rigs.traffic import MATCH

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def told(recorded: pytest.WarningsRecorder) -> list[str]:
    return [str(warning.message) for warning in recorded if NO_PACKET in str(warning.message)]


@pytest.mark.parametrize("call", [offramp.open, offramp.attach])
def test_by_open_attach_and_replace(wire: Wire, call: Callable[..., Attachment]) -> None:
    with wire.b.host:
        with pytest.warns(OfframpWarning) as recorded:
            held = call("eth0", "tcp and udp")
        assert told(recorded) == [f"eth0: {NO_PACKET}"]
        with held:
            assert NO_PACKET in held.plan.warnings
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                held.replace(MATCH)
            assert NO_PACKET not in held.plan.warnings
            with pytest.warns(OfframpWarning) as recorded:
                held.replace("ip and ip6")
            assert (told(recorded), recorded[-1].filename) == ([f"eth0: {NO_PACKET}"], __file__)


def test_not_of_one_that_can(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", "tcp or udp") as held:
        assert NO_PACKET not in held.plan.warnings


def test_of_one_that_the_netmask_makes_impossible(wire: Wire) -> None:
    with wire.b.host, pytest.warns(OfframpWarning, match=NO_PACKET):
        offramp.attach("eth0", "ip broadcast and dst host 192.0.2.77").close()


def test_by_the_command_line(wire: Wire) -> None:
    command = [sys.executable, "-m", "offramp"]
    run = wire.b.host.run([*command, "run", "eth0", "tcp", "and", "udp", "--do", "drop", "--for", "0.1"])
    assert f"offramp: warning: eth0: {NO_PACKET}" in run.stderr
    plan = wire.b.host.run([*command, "plan", "eth0", "tcp", "and", "udp"])
    assert f"  warning: {NO_PACKET}\n" in plan.stdout
