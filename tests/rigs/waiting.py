# SPDX-License-Identifier: Apache-2.0
"""Wait until a condition holds. A guest without its own processor may take ten times as long."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from lab.nic.inside import IN_GUEST

__all__ = ["eventually"]


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether the condition becomes true in time."""
    deadline = time.monotonic() + seconds * (10 if IN_GUEST in os.environ else 1)
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
