# SPDX-License-Identifier: Apache-2.0
"""A descriptor that is owned from the very moment it exists.

Python checks for signals between a call that returns a number and the code that stores it, and a handler may raise.
Then the number is lost, and the descriptor stays open. So the number is stored before Python checks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

__all__ = ["Kept"]


class Kept(list[int]):
    """Holds one descriptor or none; closes it when nobody refers to this object any more."""

    def keep(self, function: Callable[..., int], *arguments: object) -> int:
        """Call it, and keep what it returns: `extend` and `map` do that without Python in between. If there is one by
        now, as a signal's handler has done the same just before, that one stays.
        """
        calling = map(function, *((argument,) for argument in arguments))
        if not self:
            self.extend(calling)
        return self[0]

    def close(self) -> None:
        """Calling it again does nothing. There is no call between forgetting the number and closing it, so no handler
        runs.
        """
        if self:
            fd = self[0]
            del self[:]
            try:  # no call may come before close, so this is not `suppress`
                if fd >= 0:
                    os.close(fd)
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise
                # else a write failed that nobody waits for: the descriptor is gone all the same (close(2))

    def __del__(self) -> None:
        self.close()
