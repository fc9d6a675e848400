# SPDX-License-Identifier: Apache-2.0
"""Threads for tests: work that goes on beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["finish", "meanwhile"]


@contextmanager
def meanwhile(work: Callable[[threading.Event], object]) -> Iterator[None]:
    """A thread does the work, which has to end when the event is set. Leaving the context sets the event, and waits."""
    end = threading.Event()
    thread = threading.Thread(target=work, args=(end,))
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def finish(*threads: threading.Thread, seconds: float = 1.0) -> bool:
    """Whether they end in time."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
