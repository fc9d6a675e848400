# SPDX-License-Identifier: Apache-2.0
"""A stranger looks into a live ramp: a program that runs by fentry, and xdpdump."""

from __future__ import annotations

import signal
import subprocess

import pytest

import offramp
from offramp.ramp.interface import _in_use
from offramp.testing import Wire
from tests.rigs.bytecode import read_words
from tests.rigs.fentry import fentry
from tests.rigs.traffic import MATCH, datagrams, send
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.nic("e1000e")

HEADERS = 14 + 20 + 8  # Ethernet, IPv4, UDP
PATIENCE = 20.0


def running() -> int:
    """The number of the program on the one interface in use."""
    (interface,) = _in_use
    return interface.program.id


@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
def test_a_stranger_sees_the_packets_of_a_live_ramp(wire: Wire) -> None:
    with wire.b.host, offramp.attach(wire.b.name, MATCH) as guard:
        with fentry(running(), "offramp_drop") as seen:
            send(wire, 7)
            assert eventually(lambda: guard.ledger().claimed == 7, PATIENCE)
            entered, length = read_words(seen)
            assert entered >= 7
            assert length >= 7 * HEADERS
        send(wire, 3)  # the stranger went, and the ramp goes on
        assert eventually(lambda: guard.ledger().claimed == 10, PATIENCE)


@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
def test_the_program_that_takes_its_place_can_be_looked_into_too(wire: Wire) -> None:
    with wire.b.host, offramp.attach(wire.b.name, "udp dst port 53") as guard:
        before = running()
        guard.replace(MATCH)
        assert running() != before
        with fentry(running(), "offramp_drop") as seen:
            send(wire, 5)
            assert eventually(lambda: guard.ledger().claimed >= 5, PATIENCE)
            assert read_words(seen)[0] >= 5


@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
def test_xdpdump_shows_each_packet_and_its_verdict(wire: Wire) -> None:
    words = ["stdbuf", "-oL", "xdpdump", "--interface", wire.b.name, "--rx-capture", "entry,exit"]
    with (
        wire.b.host,
        offramp.attach(wire.b.name, MATCH),
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as dump,
    ):
        assert dump.stdout is not None
        with datagrams(wire):
            shown = next((line for line in dump.stdout if "exit[DROP]" in line), "")
            dump.send_signal(signal.SIGINT)
            dump.stdout.read()
    assert "offramp_drop()@exit[DROP]: packet size" in shown
