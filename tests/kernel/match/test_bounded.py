# SPDX-License-Identifier: Apache-2.0
"""Tunnels and chains of headers cost a program a bounded number of instructions, and the verifier a bounded walk."""

from __future__ import annotations

import pytest

from offramp import Match
from tests.oracles.differential import Differential

PATIENCE = 1_000_000  # instructions that the verifier walks through before it gives up (BPF_COMPLEXITY_LIMIT_INSNS)


@pytest.mark.parametrize(
    ("expression", "most"),
    [
        ("vxlan", 100),
        ("vxlan 100 and tcp dst port 443", 300),
        ("geneve", 150),
        ("geneve 100 and tcp dst port 443", 300),
        ("geneve and geneve and (tcp port 80 or 443 or 8080 or arp or ip6 multicast)", 1500),
        ("vlan any and vxlan and (vlan 5 and host 10.0.0.1 or ip6 host 2001:db8::1) and tcp[13] & 2 != 0", 1500),
        ("ip protochain 6", 250),
        ("ip6 protochain 6", 450),
        ("protochain 6", 700),
        ("ip6 protochain 6 or 17 or 58 or 132 or 50 or 89 or 103 or 112", 3000),
        ("vlan any and not (protochain 6 or 17) and port 53", 1700),
        (" and ".join(f"protochain {number}" for number in (0, 60, 43, 44, 51)), 3500),
    ],
)
def test_the_verifier_takes_it(expression: str, most: int) -> None:
    with Differential() as differential, differential.load(Match(expression)) as program:
        walked = program.info().verified_instructions
        print(f"{expression}: {program.instructions} instructions, {walked} walked through")
        assert program.instructions <= most
        assert walked < PATIENCE // 10
