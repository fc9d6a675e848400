# SPDX-License-Identifier: Apache-2.0
"""Ports in memory through the cases that every port passes: plain, traced, and with faults that never happen."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.rigs.port_cases import CASES, ENDING
from tests.rigs.ports import Loop, Null, Rig

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: threads, and fork

AROUND = {"plain": "", "traced": f"trace,file={os.devnull}+", "faults": "faults,seed=1+"}
RIGS = {f"{kind.__name__.lower()}-{name}": kind(around) for kind in (Null, Loop) for name, around in AROUND.items()}


@pytest.mark.parametrize("case", [*CASES, *ENDING], ids=lambda case: case.__name__)
@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS)
def test_port(rig: Rig, case: Callable[[Rig], None]) -> None:
    case(rig)
