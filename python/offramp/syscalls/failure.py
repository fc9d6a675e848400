# SPDX-License-Identifier: Apache-2.0
"""A system call that fails, in our words: what failed, on what, and its errno.

    with trying("the netmask of eth0"):     whatever call fails in it raises KernelError, or PrivilegeError
    with if_there("process 7"):             the same, but what is not there, or not ours to see, is left out

Few errnos say that something is not there. Any other, such as EMFILE, says nothing about what was looked for, so it is
never taken for absence. An OSError without an errno is not a system call's: a signal's handler may have raised it.
"""

from __future__ import annotations

import errno
from types import TracebackType

from offramp.errors import KernelError, OfframpError, PrivilegeError

__all__ = ["failure", "if_there", "is_shortage", "trying"]

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.ESRCH})
_NOT_OURS = frozenset({errno.EACCES, errno.EPERM})
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def failure(what: str, error: OSError, hint: str = "") -> KernelError:
    """The error for a call that failed with an errno."""
    code = error.errno or 0
    return (PrivilegeError if code in _NOT_OURS else KernelError)(what, code, hint=hint)


def is_shortage(error: OSError) -> bool:
    """Whether this process or machine is short of something: it says nothing about what was asked."""
    return error.errno in _SHORTAGE


class trying:
    """See the module."""

    def __init__(self, what: str, hint: str = "") -> None:
        self._what = what
        self._hint = hint

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, OfframpError) and error.errno:
            raise failure(self._what, error, self._hint) from error


class if_there:
    """See the module."""

    def __init__(self, what: str) -> None:
        self._trying = trying(what)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, OSError) and not isinstance(error, OfframpError) and error.errno in _NOT_THERE | _NOT_OURS:
            return True
        self._trying.__exit__(kind, error, traceback)
        return False
