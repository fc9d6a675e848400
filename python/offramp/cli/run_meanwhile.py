# SPDX-License-Identifier: Apache-2.0
"""What `offramp run` does beside reading and showing: it tells events, and follows the match's file (--reload).

At most once a second, and at once when asked to (SIGHUP), it checks whether the file has changed: its inode, its size
and when it was written. If the file is not a valid match, the old one stays in force, and this is said once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from offramp.errors import OfframpError

if TYPE_CHECKING:
    from offramp import Match
    from offramp.ramp.ramp import Attachment

__all__ = ["Followed", "Meanwhile"]

_EVERY = 1.0  # seconds


class Followed:
    """`read` makes the match from what is in the file now. Errors: OfframpError."""

    def __init__(self, path: str, read: Callable[[], Match]) -> None:
        self.asked = False  # look at once, and read it whether or not it has changed
        self._path = path
        self._read = read
        self._known = self._look()
        self._due = time.monotonic() + _EVERY

    def follow(self, ramp: Attachment) -> bool:
        """Put the file's match in place if the file has changed. True if that was done; the ramp's events tell more."""
        asked, self.asked = self.asked, False
        if not asked and time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + _EVERY
        before, self._known = self._known, self._look()
        if self._known == before and not asked:
            return False
        from offramp.ramp.events import EventKind, News

        try:
            ramp.replace(self._read())
        except OfframpError as error:
            text = f"-F {self._path}: the match stays as it was: {error}"
            ramp.events.put(News(EventKind.NOT_REPLACED, text, {"file": self._path}))
            return False
        return True

    def _look(self) -> tuple[int, ...]:
        """What tells two states of the file apart; () if it cannot be looked at."""
        try:
            found = os.stat(self._path)
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Meanwhile:
    """Tells events, on stderr, and follows the file, if there is one."""

    def __init__(self, ramp: Attachment, followed: Followed | None, *, as_json: bool) -> None:
        self._ramp = ramp
        self._followed = followed
        self._as_json = as_json

    def look(self) -> bool:
        """Returns whether another match is in force now."""
        replaced = self._followed is not None and self._followed.follow(self._ramp)
        self.tell()
        return replaced

    def tell(self) -> None:
        for event in self._ramp.events:
            said = json.dumps(event.to_dict()) if self._as_json else f"offramp: {event}"
            print(said, file=sys.stderr, flush=True)
