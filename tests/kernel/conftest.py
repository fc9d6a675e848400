# SPDX-License-Identifier: Apache-2.0
"""The wire that most tests use."""

from __future__ import annotations

import pytest

from offramp.testing import Lab, Wire


@pytest.fixture
def wire(lab: Lab) -> Wire:
    """Between hosts a and b, which know each other's MAC addresses. A test that needs another one makes its own."""
    return lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
