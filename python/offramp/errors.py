# SPDX-License-Identifier: Apache-2.0
"""Every exception that offramp raises.

    OfframpError
    ├── MatchError          the match cannot be understood (also a ValueError)
    ├── OptionError         an argument is out of range or contradicts another (also a ValueError)
    ├── CompileError        LLVM refused the generated program: a bug in offramp
    ├── KernelError         a system call failed (also an OSError, with its errno)
    │   ├── VerifierError   the kernel's verifier refused the program: a bug in offramp
    │   └── PrivilegeError  a capability is missing (also a PermissionError)
    ├── InterfaceError      the interface cannot do what was asked, or no longer exists
    │   ├── NoSuchInterface
    │   ├── InterfaceDown
    │   ├── InterfaceGone   removed or moved to another network namespace while in use
    │   └── InterfaceBusy   another XDP program is attached, or another socket owns a queue
    ├── NotSupported        a required mode is not available here (`require=`)
    ├── JournalError        a journal is not in offramp's form: nothing in it is carried out
    ├── BatchInUse          live batches and views hold all frames
    └── Closed              the ramp or port was closed, or belongs to the process that this one was forked from

    OfframpWarning          something works, but not as well as the user may think (a UserWarning)

`str(error)` is one line: what failed, on what, why, and what to do about it. The parts are `what`, `reason` and `hint`.
"""

from __future__ import annotations

import errno as _errno
import os

from offramp.text import printable

__all__ = [
    "BatchInUse",
    "Closed",
    "CompileError",
    "InterfaceBusy",
    "InterfaceDown",
    "InterfaceError",
    "InterfaceGone",
    "JournalError",
    "KernelError",
    "MatchError",
    "NoSuchInterface",
    "NotSupported",
    "OfframpError",
    "OfframpWarning",
    "OptionError",
    "PrivilegeError",
    "VerifierError",
]


class OfframpError(Exception):
    """What failed (`what`), why (`reason`), and what to do (`hint`)."""

    def __init__(self, what: str, *, reason: str = "", hint: str = "") -> None:
        self.what = what
        self.reason = reason
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.what}: {self.reason}" if self.reason else self.what
        return printable(f"{text} ({self.hint})" if self.hint else text)


class OfframpWarning(UserWarning):
    """Something works, but not as well as the user may think."""


_CONTEXT = 60  # of the match, shown on each side of an error; characters


class MatchError(OfframpError, ValueError):
    """The match has an error at `position` (0-based, in characters) of `text`."""

    def __init__(self, what: str, *, text: str, position: int, width: int = 1, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.text = text
        self.position = position
        self.width = max(width, 1)

    def __str__(self) -> str:
        """The message, the part of the text around the error, and a caret."""
        start = max(0, self.position - _CONTEXT)
        end = min(len(self.text), self.position + max(self.width, _CONTEXT))
        before, after = "..." if start else "", "..." if end < len(self.text) else ""
        shown = before + "".join(c if c.isprintable() else " " for c in self.text[start:end]) + after
        caret = " " * (len(before) + self.position - start) + "^" * self.width
        return f"{super().__str__()}\n  {shown}\n  {caret}"


class OptionError(OfframpError, ValueError):
    """An argument is out of range or contradicts another."""


class CompileError(OfframpError):
    """LLVM refused the generated program."""


class KernelError(OfframpError, OSError):
    """A system call failed; `errno` says how."""

    def __init__(self, what: str, errno: int, *, hint: str = "") -> None:
        name = _errno.errorcode.get(errno, str(errno))
        OfframpError.__init__(self, what, reason=f"{os.strerror(errno)} [{name}]", hint=hint)
        self.errno = errno

    __str__ = OfframpError.__str__


class VerifierError(KernelError):
    """The kernel's verifier refused the program; `log` is what it said."""

    def __init__(self, what: str, errno: int, *, log: str, hint: str = "") -> None:
        super().__init__(what, errno, hint=hint)
        self.log = log


class PrivilegeError(KernelError, PermissionError):
    """A capability is missing; the hint names it."""


class InterfaceError(OfframpError):
    """The interface cannot do what was asked, or no longer exists."""


class NoSuchInterface(InterfaceError):
    """No interface of that name in this network namespace."""


class InterfaceDown(InterfaceError):
    """The interface is administratively down."""


class InterfaceGone(InterfaceError):
    """The interface was removed, or moved to another network namespace, while in use."""


class InterfaceBusy(InterfaceError):
    """Another XDP program is attached, or another socket owns a queue."""


class NotSupported(OfframpError):
    """What `require=` asked for is not available here."""


class JournalError(OfframpError):
    """A journal is not in offramp's form, or somebody else could have written it. It is left alone."""


class BatchInUse(OfframpError):
    """Live batches and views hold all frames; nothing is left for the kernel to fill."""


class Closed(OfframpError):
    """The ramp or port was closed, or belongs to the process that this one was forked from."""
