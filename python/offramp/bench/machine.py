# SPDX-License-Identifier: Apache-2.0
"""The machine that figures were measured on."""

from __future__ import annotations

import os
import platform

from offramp.syscalls.procfs import content

__all__ = ["machine"]


def machine() -> dict[str, object]:
    """The kernel's version, the name of the processor, and how many CPUs there are."""
    models = [line.split(":", 1)[1].strip() for line in content("/proc/cpuinfo").splitlines() if "model name" in line]
    kernel = platform.release().split("-")[0]
    return {"kernel": kernel, "cpu": models[0] if models else platform.machine(), "cpus": os.cpu_count()}
