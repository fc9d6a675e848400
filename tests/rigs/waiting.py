# SPDX-License-Identifier: Apache-2.0
"""Waiting until something is so, which a guest without a processor of its own may take ten times as long for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from lab.nic.inside import IN_GUEST

__all__ = ["eventually"]


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds * (10 if IN_GUEST in os.environ else 1)
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
