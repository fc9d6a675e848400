# SPDX-License-Identifier: Apache-2.0
"""Each kernel's verifier takes the programs of matches, and they give libpcap's answers (oracles/differential.py).

tests/kernel asks the kernel that it runs on about 5,000 expressions; here other kernels are asked about some of them.
Native code, which is the same under each of them, is left out.
"""

from __future__ import annotations

import pytest

from tests.oracles.differential import EXPRESSIONS_PER_SEED, Differential

ON_EACH = pytest.mark.nic("e1000e", kernels=">=6.1")  # has a guest under each kernel anyway, and little to do
PROGRAMS = 100  # and those that people write


@ON_EACH
@pytest.mark.timeout(600)
def test_random_matches() -> None:
    with Differential(native=False) as differential:
        for seed in range(PROGRAMS // EXPRESSIONS_PER_SEED):
            differential.run(seed, packets=5)
        outcome = differential.outcome
    print(outcome)
    assert outcome.differences == []
    assert outcome.expressions == PROGRAMS
    assert outcome.too_large <= 1


@ON_EACH
@pytest.mark.timeout(600)
def test_what_people_write() -> None:
    with Differential(native=False) as differential:
        differential.run_written(packets=5)
        outcome = differential.outcome
    assert outcome.differences == []
    assert outcome.too_large == 0
