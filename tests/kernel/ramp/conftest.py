# SPDX-License-Identifier: Apache-2.0
"""What holds after a test of ramps, whatever it did."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from offramp.testing import Lab
from tests.rigs.leftovers import kernel_objects, orphans
from tests.rigs.waiting import eventually


@pytest.fixture
def nothing_is_left(lab: Lab) -> Iterator[None]:
    """No bpf object and no socket, held by this process or by nobody."""
    gc.collect()
    before = kernel_objects()
    yield
    gc.collect()  # what is in a circle
    assert kernel_objects() == before
    assert eventually(lambda: not orphans())
