# SPDX-License-Identifier: Apache-2.0
"""One owned file descriptor: what every map, program and link is.

    open ──close()──> closed        also: leaving `with`, and, with a ResourceWarning, being forgotten

The kernel creates all bpf descriptors close-on-exec. Closing the last descriptor of an object removes the object.
"""

from __future__ import annotations

import os
import warnings
from types import TracebackType
from typing import Self

from offramp.errors import Closed

__all__ = ["Descriptor"]


class Descriptor:
    """Owns `fd` from now on: closes it once, and never a number that somebody else has reused."""

    _fd: int = -1  # of an object whose __init__ did not get far

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def fd(self) -> int:
        """The descriptor; raises `Closed` after close()."""
        if self._fd < 0:
            raise Closed(self._describe(), reason="already closed")
        return self._fd

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        """Give the descriptor back. Closing twice is allowed."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def abandon(self) -> None:
        """In a forked child: close the copy of what is the parent's."""
        self.close()

    def leave(self) -> None:
        """Let the kernel close it when the process ends, without a warning: somebody else has given one."""
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fd >= 0:
            forgotten = repr(self)
            self.close()  # first: the warning may be made an error
            warnings.warn(f"{forgotten} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<{self._describe()}, {f'fd {self._fd}' if self._fd >= 0 else 'closed'}>"

    def _describe(self) -> str:
        """What it is a descriptor of."""
        return type(self).__name__
