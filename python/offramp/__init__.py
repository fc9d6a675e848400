# SPDX-License-Identifier: Apache-2.0
"""Kernel bypass for the flows you pick. The kernel keeps the NIC.

    with offramp.open("eth0", "udp dst port 4321") as ramp:        # these packets come here, all others stay
        for batch in ramp:
            print(len(batch), batch.ip.src[:3])

    with offramp.attach("eth0", "udp dst port 4321", DROP) as guard:    # they end in the driver
        print(guard.ledger())

The names below are all of the public API, with `offramp.testing` (the lab). Importing offramp loads no more than the
errors: the rest, with NumPy, LLVM and netlink behind it, is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    BatchInUse,
    Closed,
    CompileError,
    Detached,
    InterfaceBusy,
    InterfaceDown,
    InterfaceError,
    InterfaceGone,
    JournalError,
    KernelError,
    MatchError,
    NoSuchInterface,
    NotSupported,
    OfframpError,
    OfframpWarning,
    OptionError,
    PrivilegeError,
    VerifierError,
)

if TYPE_CHECKING:
    from typing import Final

    from .matcher import Match
    from .ports import Batch, Port, open_port
    from .ramp import Attachment, Event, EventKind, Ramp, attach, open, ramps
    from .state import HashSet, PrefixSet
    from .verdict import Verdict

    CLAIM: Final = Verdict.CLAIM
    DROP: Final = Verdict.DROP
    PASS: Final = Verdict.PASS
    TX: Final = Verdict.TX
    __version__: str

__all__ = [
    "CLAIM",
    "DROP",
    "PASS",
    "TX",
    "Attachment",
    "Batch",
    "BatchInUse",
    "Closed",
    "CompileError",
    "Detached",
    "Event",
    "EventKind",
    "HashSet",
    "InterfaceBusy",
    "InterfaceDown",
    "InterfaceError",
    "InterfaceGone",
    "JournalError",
    "KernelError",
    "Match",
    "MatchError",
    "NoSuchInterface",
    "NotSupported",
    "OfframpError",
    "OfframpWarning",
    "OptionError",
    "Port",
    "PrefixSet",
    "PrivilegeError",
    "Ramp",
    "Verdict",
    "VerifierError",
    "__version__",
    "attach",
    "open",
    "open_port",
    "ramps",
]

_PLACES = {
    "CLAIM": (".verdict", "Verdict.CLAIM"),
    "DROP": (".verdict", "Verdict.DROP"),
    "PASS": (".verdict", "Verdict.PASS"),
    "TX": (".verdict", "Verdict.TX"),
    "Verdict": (".verdict", "Verdict"),
    "Batch": (".ports", "Batch"),
    "HashSet": (".state", "HashSet"),
    "Match": (".matcher", "Match"),
    "PrefixSet": (".state", "PrefixSet"),
    "Port": (".ports", "Port"),
    "Attachment": (".ramp", "Attachment"),
    "Event": (".ramp", "Event"),
    "EventKind": (".ramp", "EventKind"),
    "Ramp": (".ramp", "Ramp"),
    "attach": (".ramp", "attach"),
    "open": (".ramp", "open"),
    "open_port": (".ports", "open_port"),
    "ramps": (".ramp", "ramps"),
}

if not TYPE_CHECKING:  # a type checker reads the imports above, and still refuses a misspelt name

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("offramp")
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module
        from operator import attrgetter

        module, attribute = _PLACES[name]
        try:
            value = attrgetter(attribute)(import_module(module, __name__))
        except (AttributeError, ImportError):
            if _is_being_imported():
                reason = "this signal handler interrupts its thread in importing offramp"
                hint = f"use offramp.{name} once before, or do it when the handler has returned"
                raise OfframpError(f"offramp.{name}", reason=reason, hint=hint) from None
            raise
        globals()[name] = value  # so this runs once for each name
        return value

    def _is_being_imported() -> bool:
        import sys

        ours = [module for name, module in tuple(sys.modules.items()) if name.startswith(f"{__name__}.")]
        return any(getattr(module.__spec__, "_initializing", False) for module in ours)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
