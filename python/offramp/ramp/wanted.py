# SPDX-License-Identifier: Apache-2.0
"""What is wanted of an interface, and what attempts to get it have taught: values that plan and execution share."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from offramp.arguments import short
from offramp.errors import OfframpError, OptionError, PrivilegeError
from offramp.immutable import field, immutable
from offramp.lower.expression import Lowered, Named
from offramp.matcher import Match
from offramp.planner import METHODS
from offramp.syscalls.privileges import FOR_BPF, Capability, hint
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.bpf.references import Mapped
    from offramp.emit.state import State
    from offramp.options import Options
    from offramp.planner import Method

__all__ = ["UNTRIED", "NativeRefused", "NotSteered", "Refusal", "Tried", "Wanted", "acting", "read", "renamed"]

_OWN = "protect "  # before the names of sets in what the user protects: they may be those of sets in the match


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
    def own(self) -> Match | None:
        """What the user protects beside the rest."""
        protect = self.options.protect
        return None if isinstance(protect, bool) else Match.of(cast("Match | str", protect))

    def state(self, reference: State) -> Mapped:
        """What a reference of its section means: a set of the match, or of what the user protects."""
        own = self.own
        if own is not None and isinstance(reference, Named) and reference.name.startswith(_OWN):
            return own.state(replace(reference, name=reference.name.removeprefix(_OWN)))
        return self.match.state(reference)

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


def read(options: Options) -> Options:
    """The options, in which a match is no text any more. Errors: MatchError, OptionError."""
    if isinstance(options.protect, bool):
        return options
    try:
        return replace(options, protect=Match.of(cast("Match | str", options.protect), resolve=options.resolve))
    except OfframpError as error:
        error.what = f"protect=: {error.what}"
        raise


def renamed(own: Lowered) -> Lowered:
    """What the user protects, with the names that `Wanted.state` knows its sets by."""
    sets = (replace(use, name=f"{_OWN}{use.name}") if isinstance(use, Named) else use for use in own.sets)
    return replace(own, sets=tuple(sets))


@immutable
class NativeRefused:
    """The driver refused native mode, although nothing had said that it would; `reason`: why, if it is known."""

    reason: str = ""


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
    native_reason: str = ""
    refused: Mapping[Method, str] = field(default_factory=dict)

    def after(self, refusal: Refusal) -> Tried:
        match refusal:
            case NativeRefused(reason):
                return replace(self, native_refused=True, native_reason=reason)
            case NotSteered(method, became):
                return replace(self, refused={**self.refused, method: became})


UNTRIED = Tried()
