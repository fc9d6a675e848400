# SPDX-License-Identifier: Apache-2.0
"""What is wanted of an interface, and what attempts to get it have taught: values that plan and execution share."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from offramp.arguments import short
from offramp.errors import OptionError, PrivilegeError
from offramp.immutable import field, immutable
from offramp.planner import METHODS
from offramp.syscalls.privileges import FOR_BPF, Capability, hint
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.matcher import Match
    from offramp.options import Options
    from offramp.planner import Method

__all__ = ["UNTRIED", "NativeRefused", "NotSteered", "Refusal", "Tried", "Wanted", "acting"]


def acting(verdict: object) -> Verdict:
    """The verdict, if it can act in the driver. Errors: OptionError."""
    if not isinstance(verdict, int) or verdict not in (Verdict.DROP, Verdict.PASS, Verdict.TX):
        raise OptionError(
            f"verdict={short(verdict)}",
            reason="not offramp.DROP, offramp.TX or offramp.PASS",
            hint="open() brings packets to user space",
        )
    return Verdict(verdict)


@immutable
class Wanted:
    """What the user asked for."""

    match: Match
    verdict: Verdict
    options: Options

    @property
    def needs(self) -> tuple[Capability, ...]:
        return (*FOR_BPF, Capability.CAP_NET_RAW) if self.verdict is Verdict.CLAIM else FOR_BPF

    @contextmanager
    def naming_privileges(self, interface: str) -> Iterator[None]:
        """If a privilege is missing, raise an error that names what the user wanted, and all that it needs.

        Otherwise the error would name only the first step that failed, and what that step needs.
        """
        try:
            yield
        except PrivilegeError as error:
            if error.errno not in (errno.EPERM, errno.EACCES):
                raise
            purpose = "taking packets off" if self.verdict is Verdict.CLAIM else "deciding about packets on"
            raise PrivilegeError(f"{purpose} {interface}", error.errno, hint=hint(self.needs)) from error


@immutable
class NativeRefused:
    """The driver refused native mode, although nothing had said that it would."""


@immutable
class NotSteered:
    """The driver does not take what would bring the flow to its queue. Has what that was, and the result as a
    predicate.
    """

    method: Method
    became: str

    def __str__(self) -> str:
        return f"{METHODS[self.method]} {self.became}"


Refusal = NativeRefused | NotSteered


@immutable
class Tried:
    """What a plan need not try again."""

    native_refused: bool = False
    refused: Mapping[Method, str] = field(default_factory=dict)

    def after(self, refusal: Refusal) -> Tried:
        match refusal:
            case NativeRefused():
                return replace(self, native_refused=True)
            case NotSteered(method, became):
                return replace(self, refused={**self.refused, method: became})


UNTRIED = Tried()
