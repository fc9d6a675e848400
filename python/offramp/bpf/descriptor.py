# SPDX-License-Identifier: Apache-2.0
"""One owned file descriptor: every map, program and link is one.

    open ──close()──> closed        also: leaving `with`, and, with a ResourceWarning, being forgotten

The kernel creates all bpf descriptors close-on-exec. Closing the last descriptor of an object removes the object.
"""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Self

from offramp.errors import Closed
from offramp.syscalls.kept import Kept

__all__ = ["Descriptor"]


class Descriptor:
    """Owns `fd` from now on. It closes `fd` once, and never closes a number that somebody else has reused."""

    _kept = Kept()  # of an object whose __init__ did not get far

    def __init__(self, fd: int | Kept) -> None:
        self._kept = Kept([fd]) if isinstance(fd, int) else fd

    @property
    def fd(self) -> int:
        """The descriptor; raises `Closed` after close()."""
        if self.closed:
            raise Closed(self._describe(), reason="already closed")
        return self._kept[0]

    @property
    def closed(self) -> bool:
        return not self._kept or self._kept[0] < 0  # a system call that fails leaves -1 for a moment

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        """Give the descriptor back. Closing twice is allowed."""
        if self._kept:
            self._kept.close()

    def abandon(self) -> None:
        """In a forked child: close its copy of the parent's descriptor."""
        self.close()

    def leave(self) -> None:
        """Let the kernel close it when the process ends. No warning is given: somebody else has given one."""
        if self._kept:
            self._kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._kept:
            forgotten = repr(self)
            self.close()  # before the warning, which may be made an error
            warnings.warn(f"{forgotten} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<{self._describe()}, {f'fd {self._kept[0]}' if self._kept else 'closed'}>"

    def _describe(self) -> str:
        """What it is a descriptor of."""
        return type(self).__name__
