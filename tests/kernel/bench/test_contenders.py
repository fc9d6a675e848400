# SPDX-License-Identifier: Apache-2.0
"""Contenders take the right packets, count them, and leave the flow to the kernel when they end."""

from __future__ import annotations

import socket

import pytest

from offramp.bench.contender import Contender, Target, Timer
from offramp.bench.contenders import CONTENDERS
from offramp.bench.scene import PORT, Mode, Placement, Scene, scene
from offramp.errors import OfframpError
from offramp.testing import Lab, Wire
from tests.rigs.traffic import kernel_receives, kernel_socket

pytestmark = pytest.mark.speed

FEW = 200  # packets: they fit every ring


def send(wire: Wire, count: int, port: int = PORT) -> None:
    with wire.a.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(bytes(18), (wire.b.ip, port))


@pytest.mark.parametrize("contender", CONTENDERS.values(), ids=CONTENDERS)
def test_each_takes_its_flow_and_nothing_else(lab: Lab, contender: Contender) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    with wire.b.host:
        assert contender.missing() is None
        with contender.start(Target(wire.b.name, wire.b.ip, PORT)) as running:
            send(wire, FEW)
            send(wire, FEW, PORT + 1)
            running.work(Timer(1.0))
            assert running.taken() == FEW
            assert running.ledger is None or running.ledger().exact
            send(wire, FEW)
            running.work(Timer(1.0))
            assert running.taken() == 2 * FEW, "the count goes on"
    with kernel_socket(wire) as kernel:
        send(wire, 1)
        kernel.settimeout(1.0)
        assert kernel.recv(2048) == bytes(18)
        assert not kernel_receives(kernel, 0.05)


def test_without_iptables_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    missing = CONTENDERS["iptables-raw"].missing()
    assert missing is not None
    assert (missing.reason, missing.remedy) == ("no iptables in PATH", "apt install iptables")


def test_a_rule_that_iptables_refuses_is_an_error(lab: Lab) -> None:
    target = Target("no-such-interface", "10.77.0.2", PORT)
    starting = CONTENDERS["iptables-raw"].start(target)
    with lab.host("a"), pytest.raises(OfframpError, match="iptables -w -t raw -A PREROUTING -i no-such"), starting:
        pytest.fail("it started")


@pytest.mark.parametrize("mode", ["inline", "threaded"])
@pytest.mark.parametrize("name", ["iptables-raw", "offramp-native"])
def test_a_window_is_a_part_of_a_flood(mode: Mode, name: str) -> None:
    """The contender cannot have taken what was not sent but for what waited in its rings."""
    contender = CONTENDERS[name]
    with (
        scene(Placement.here(mode)) as stage,
        contender.start(stage.target) as running,
        stage.admitted(xdp=contender.xdp),
    ):
        window = stage.window(0.3, running)
    assert 0 < window.taken < window.sent + 10_000
    assert 0.3 <= window.seconds < 3.0
    assert window.reader_ns > 0
    assert (window.softirq_ns > 0) == (mode == "threaded")


def test_the_flood_arrives_in_the_queue_that_the_scene_says(lab: Lab) -> None:
    stage = Scene(lab, Placement(1, 0, "threaded"), queues=2)
    assert stage.flood_queue == 1
    with stage.admitted(xdp=False):
        assert stage.wire.b.napi_threads()[stage.flood_queue] in stage._softirq
