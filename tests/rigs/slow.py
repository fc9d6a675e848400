# SPDX-License-Identifier: Apache-2.0
"""A slow driver: a library, compiled here and preloaded, delays each SIOCETHTOOL of a process and of its children."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

__all__ = ["slowed"]


def slowed(milliseconds: int) -> dict[str, str]:
    """The environment of such a process."""
    return {**os.environ, "LD_PRELOAD": _library(), "SLOW_IOCTL": str(milliseconds)}


@cache
def _library() -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs cc")
    library = Path(mkdtemp()) / "slow.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", library, source, "-ldl"], check=True)
    return str(library)
