# SPDX-License-Identifier: Apache-2.0
"""AF_XDP on veth through the cases that every port passes: bare, traced, with faults that never happen; and as the port
of a ramp.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

import offramp
from offramp.testing import Lab
from tests.rigs.af_xdp import BareAfXdp, RampsPort
from tests.rigs.port_cases import cases
from tests.rigs.ports import AROUND, Rig


@pytest.mark.parametrize(("kind", "case"), cases(BareAfXdp))
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_port(lab: Lab, kind: type[BareAfXdp], case: Callable[[Rig], None], around: str) -> None:
    case(kind(lab, around))


@pytest.mark.parametrize(("kind", "case"), cases(RampsPort))
def test_port_of_a_ramp(lab: Lab, kind: type[RampsPort], case: Callable[[Rig], None]) -> None:
    case(kind(lab))


def test_a_bare_socket_sends_at_once(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    with wire.b.host:
        receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
        receiver.bind(("eth0", 0x88B5))
    content = bytes(12) + b"\x88\xb5" + b"from a bare socket".ljust(46, b"\0")
    with receiver, wire.a.host, offramp.open_port("af_xdp:eth0,copying=copy") as port:
        assert repr(port) == "<Port af_xdp:eth0, 1 queue, copy>"
        receiver.settimeout(10)
        assert port.send(content) == 1
        assert port.flush() == 0
        assert receiver.recv(2048) == content
        assert port.rx(timeout=0) is None
