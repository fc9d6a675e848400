# SPDX-License-Identifier: Apache-2.0
"""libpcap, the program in the driver, and native code give the same answer: see tests/oracles/differential.py.

5,000 random expressions here, each on 20 packets: more than 100,000 triples, and 5,000 programs for the verifier.
"""

from __future__ import annotations

import pytest

from tests.oracles.differential import EXPRESSIONS_PER_SEED, Differential

pytestmark = pytest.mark.speed  # tests/nic/test_verifier.py asks other kernels


@pytest.mark.timeout(600)
def test_libpcap_ebpf_and_native_code_agree() -> None:
    with Differential() as differential:
        for seed in range(5000 // EXPRESSIONS_PER_SEED):
            differential.run(seed, packets=20)
        outcome = differential.outcome
    print(outcome)
    assert outcome.differences == []
    assert outcome.triples >= 100_000
    assert outcome.matching >= 10_000
    assert outcome.too_large <= 5


def test_what_people_write() -> None:
    with Differential() as differential:
        differential.run_written(packets=200)
        outcome = differential.outcome
    assert outcome.differences == []
    assert outcome.too_large == 0
