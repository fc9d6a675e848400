# SPDX-License-Identifier: Apache-2.0
"""Questions to a peer, as tcpdump sees them on the wire, with the answers of the peer's kernel."""

from __future__ import annotations

import re
import socket
import subprocess

import pytest

from offramp.errors import NotSupported
from offramp.ramp.ask import Question, ask
from offramp.testing import Lab, Wire
from tests.rigs.waiting import eventually


@pytest.fixture
def wire(lab: Lab) -> Wire:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    wire.a.tx_checksum_offload(False)
    wire.b.tx_checksum_offload(False)
    return wire


def on_the_wire(wire: Wire, asked: Question, what: str) -> str:
    """What tcpdump says of the question and its answer, which the filter `what` tells from all else."""
    command = ["tcpdump", "-lnvv", "-c", "2", "--immediate-mode", "-i", wire.a.name, what]
    watching = wire.a.host.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert watching.stderr is not None
        while "listening on" not in watching.stderr.readline():
            assert watching.poll() is None
        with wire.a.host:
            ask(asked, wire.a.name)
        return str(watching.communicate(timeout=10)[0])
    finally:
        wire.a.host.kill(watching)


def ends(wire: Wire, version: int) -> tuple[str, str]:
    return (wire.a.ip, wire.b.ip) if version == 4 else (wire.a.ip6, wire.b.ip6)


@pytest.mark.parametrize("version", [4, 6])
def test_a_syn_is_answered_by_a_reset(wire: Wire, version: int) -> None:
    said = on_the_wire(wire, Question(6, *ends(wire, version), 4000, 80), "tcp or ip6 proto 6")
    assert re.search(r"Flags \[S\], cksum \w+ \(correct\).*Flags \[R\.\]", said, re.DOTALL), said


@pytest.mark.parametrize(
    ("version", "protocol", "what"), [(4, 1, "icmp"), (6, 58, "icmp6 and ip6[40] >= 128 and ip6[40] <= 129")]
)
def test_an_echo_request_is_answered(wire: Wire, version: int, protocol: int, what: str) -> None:
    said = on_the_wire(wire, Question(protocol, *ends(wire, version)), what)
    assert re.search("echo request.*echo reply", said, re.DOTALL), said
    assert "bad" not in said  # a checksum


@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_reaches_a_service(wire: Wire, version: int) -> None:
    here, there = ends(wire, version)
    with wire.b.host:
        service = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    with service:
        service.bind((there, 7))
        service.settimeout(5)
        with wire.a.host:
            ask(Question(17, here, there, 4000, 7), wire.a.name)
        data, sender = service.recvfrom(100)
        assert (data, sender[:2]) == (b"", (here, 4000))


def test_a_connection_that_a_probe_began_is_ended_by_the_kernel(wire: Wire) -> None:
    """A service answers with SYN and ACK; our kernel knows no such connection, and resets it."""
    with wire.b.host:
        listener = socket.create_server((wire.b.ip, 80))
    with listener, wire.a.host:
        ask(Question(6, wire.a.ip, wire.b.ip, 4000, 80), wire.a.name)
        assert eventually(lambda: "SYN-RECV" not in wire.b.host.run(["ss", "-tan"]).stdout, 5.0)


def test_an_address_that_is_not_ours(wire: Wire) -> None:
    with wire.a.host, pytest.raises(NotSupported, match=r"192\.0\.2\.77 is not an address of this machine"):
        ask(Question(1, "192.0.2.77", wire.b.ip), wire.a.name)
