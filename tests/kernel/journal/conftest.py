# SPDX-License-Identifier: Apache-2.0
"""A wire, and a directory of journals, for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from offramp.testing import Interface, Wire
from tests.kernel.journal.changes import (
    KNOBS,
    knobs,
)


@pytest.fixture(autouse=True)
def state(state: Path) -> Path:
    return state


@pytest.fixture
def interface(wire: Wire) -> Interface:
    assert knobs(wire.b) == KNOBS
    return wire.b
