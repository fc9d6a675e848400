# SPDX-License-Identifier: Apache-2.0
"""`doctor --measure` on real drivers: igb resets its link for XDP, the others keep it."""

from __future__ import annotations

import pytest

from offramp.ramp.flap import measure
from offramp.testing import Wire
from tests.rigs.leftovers import has_xdp


@pytest.mark.nic
def test_the_carrier(wire: Wire, guest: tuple[str, str]) -> None:
    with wire.b.host:
        flap = measure(wire.b.name)
    print(flap)
    assert (flap.attach > 0, flap.detach > 0) == (guest[0] == "igb", guest[0] == "igb")
    assert flap.mode == ("generic" if guest[0] == "e1000e" else "native")
    assert not has_xdp(wire.b)
