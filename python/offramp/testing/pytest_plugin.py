# SPDX-License-Identifier: Apache-2.0
"""The pytest fixture `lab`, available wherever offramp is installed.

    def test_my_handler(lab):
        a, b = lab.host("a"), lab.host("b")
        wire = lab.wire(a, b)

Each test gets a new, empty lab. Without the privileges for it the test is skipped, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from offramp.lab.lab import Lab

__all__ = ["lab"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A Lab, closed after the test.  Skips without CAP_SYS_ADMIN and CAP_NET_ADMIN."""
    from offramp.lab.lab import Lab

    if refused := _refused():
        pytest.skip(refused)
    with Lab() as lab:
        yield lab


@cache
def _refused() -> str:
    """Why this process cannot make a host; empty if it can."""
    from offramp.errors import PrivilegeError
    from offramp.lab.host import Host

    try:
        Host("probe").close()
    except PrivilegeError as error:
        return str(error)
    return ""
