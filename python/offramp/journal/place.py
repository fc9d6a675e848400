# SPDX-License-Identifier: Apache-2.0
"""Which boot this is, and the moment in it. Source: clock_gettime(2), random(4)."""

from __future__ import annotations

import time

__all__ = ["boot", "moment"]


def boot() -> str:
    """The number of this boot, a UUID."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def moment() -> int:
    """Nanoseconds since the boot. Unlike the time of day, they are never set back."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
