# SPDX-License-Identifier: Apache-2.0
"""A ramp's port is closed before the ramp: all that the ramp has done is still undone."""

from __future__ import annotations

import pytest

import offramp
from offramp.errors import Closed
from offramp.testing import Lab
from tests.rigs.leftovers import has_xdp, kernel_objects
from tests.rigs.traffic import MATCH, claims, datagrams
from tests.rigs.waiting import eventually


def test_the_ramp_still_closes(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    before = kernel_objects()
    with wire.b.host:
        ramp = offramp.open("eth0", MATCH)
        with datagrams(wire):
            assert claims(ramp)
        ramp.port.close()
        (counted,) = ramp.port.ledgers()
        assert counted.received > 0
        assert has_xdp(wire.b)
        with pytest.raises(Closed, match="the port was closed"):
            ramp.rx(timeout=0)
        assert ramp.ledger().queues == (counted,)
        ramp.close()
        assert not has_xdp(wire.b)
        assert ramp.ledger().queues == (counted,)
        assert ramp.ledger().known
        with offramp.open("eth0", MATCH):
            pass
    assert eventually(lambda: kernel_objects() == before)
