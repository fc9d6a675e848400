# SPDX-License-Identifier: Apache-2.0
"""A descriptor that is owned from the very moment it exists.

Python checks for signals between a call that returns a number and the code that stores it, and a handler may raise.
Then the number is lost, and the descriptor stays open. So the number is stored before Python checks.
"""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["Kept"]


class Kept(list[int]):
    """Holds one descriptor or none; closes it when nobody refers to this object any more."""

    def keep(self, function: Callable[..., int], *arguments: object) -> int:
        """Call the function, and keep what it returns: `extend` and `map` do this with no Python code in between."""
        self.extend(map(function, *((argument,) for argument in arguments)))
        return self[0]

    def close(self) -> None:
        """Calling it again does nothing. There is no call between forgetting the number and closing it, so no handler
        runs.
        """
        if self:
            fd = self[0]
            del self[:]
            if fd >= 0:
                os.close(fd)

    def __del__(self) -> None:
        self.close()
