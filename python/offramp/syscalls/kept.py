# SPDX-License-Identifier: Apache-2.0
"""A descriptor that is owned from the very moment when there is one.

Between a call that returns a number and whatever remembers it, Python looks for signals, and a handler may raise: then
the number is lost, and the descriptor stays open. So the number is put where it belongs before Python looks.
"""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["Kept"]


class Kept(list[int]):
    """None, or one descriptor; closed when nobody refers to this."""

    def keep(self, function: Callable[..., int], *arguments: object) -> int:
        """Call it, and keep what it returns: `extend` and `map` do that without Python in between. If there is one by
        now, as a signal's handler has done the same just before, that one stays.
        """
        calling = map(function, *((argument,) for argument in arguments))
        if not self:
            self.extend(calling)
        return self[0]

    def close(self) -> None:
        """Again: nothing. No call stands between forgetting the number and closing it, so no handler comes there."""
        if self:
            fd = self[0]
            del self[:]
            if fd >= 0:
                os.close(fd)

    def __del__(self) -> None:
        self.close()
