# SPDX-License-Identifier: Apache-2.0
"""Ports in memory through the cases that every port passes: plain, traced, and with faults that never happen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rigs.port_cases import cases
from tests.rigs.ports import AROUND, Loop, Null, Rig


@pytest.mark.parametrize(("kind", "case"), cases(Null, Loop))
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_port(kind: type[Null] | type[Loop], case: Callable[[Rig], None], around: str) -> None:
    case(kind(around))
