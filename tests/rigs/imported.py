# SPDX-License-Identifier: Apache-2.0
"""What a piece of code imports in a new process."""

from __future__ import annotations

import subprocess
import sys

__all__ = ["loaded_by"]

REPORT = """
import atexit, sys
before = set(sys.modules)
atexit.register(lambda: print(*(set(sys.modules) - before), file=sys.stderr))
"""


def loaded_by(code: str, *, after: str = "") -> set[str]:
    """The modules that the code loads, without those that other code, which runs first (`after`), has loaded."""
    command = [sys.executable, "-c", f"{after}{REPORT}{code}"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stderr.split())
