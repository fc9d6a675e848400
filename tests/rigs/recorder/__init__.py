# SPDX-License-Identifier: Apache-2.0
"""What other people's tools ask of the kernel, byte by byte. A library, compiled here, is preloaded into the tools.

Without a C compiler or the tool itself, the test is skipped, with that reason.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["Recorder", "recorder"]

Recorder = Callable[..., list[bytes]]


def recorder(tool: str, place: Path) -> Recorder:
    """A function that runs `tool` with its arguments and returns what it would have told the kernel."""
    compiler, path = shutil.which("cc"), shutil.which(tool)
    if compiler is None or path is None:
        pytest.skip(f"needs {'cc' if compiler is None else tool}")
    library, record = place / f"{tool}.so", place / "record"
    source = Path(__file__).with_name(f"{tool}.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", library, source, "-ldl"], check=True)

    def run(*arguments: str, check: bool = True) -> list[bytes]:
        record.unlink(missing_ok=True)
        environment = os.environ | {"LD_PRELOAD": str(library), "RECORD": str(record)}
        done = subprocess.run([path, *arguments], env=environment, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return _messages(record.read_bytes() if record.exists() else b"")

    return run


def _messages(raw: bytes) -> list[bytes]:
    found = []
    while raw:
        (size,) = struct.unpack_from("I", raw)
        found.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    return found
