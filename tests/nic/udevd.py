# SPDX-License-Identifier: Apache-2.0
"""What udev does with a new interface, as seen from beside it: a record, another name, and a record that it is done.

A guest has no udev, and the host that its files are from may have none either.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rigs.threads import meanwhile

__all__ = ["renaming"]

_SLOW = 0.5  # seconds, for each of two steps


@contextmanager
def renaming(run: Path, name: str) -> Iterator[None]:
    """The next interface that appears here gets that name; `run` stands for /run/udev."""
    (run / "data").mkdir(parents=True)
    (run / "control").touch()
    known = {index for index, _ in socket.if_nameindex()}

    def rename(end: threading.Event) -> None:
        while not end.wait(0.01):
            for index, old in socket.if_nameindex():
                if index not in known:
                    time.sleep(_SLOW)
                    record = run / "data" / f"n{index}"
                    record.write_text("E:ID_RENAMING=1\nI:1234567\nV:1\n")
                    time.sleep(_SLOW)
                    subprocess.run(["ip", "link", "set", old, "name", name], check=True)
                    record.write_text("I:1234567\nV:1\n")
                    return

    with meanwhile(rename):
        yield
