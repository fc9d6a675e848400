# SPDX-License-Identifier: Apache-2.0
"""What kinds of ports there are, and what can be put around them, as the registry has them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PortKind", "port_kinds"]


@dataclass(frozen=True, slots=True)
class PortKind:
    """A kind of port or, if `needs` is None, a wrapper, which needs what the port inside it needs."""

    name: str
    syntax: str  # in a name for `open_port`
    about: str
    needs: str | None  # privileges and parts of the system
    usable: bool  # here and now, as was tried
    reason: str | None  # why it is not, and what to do


def port_kinds() -> tuple[PortKind, ...]:
    """All kinds by name, then all wrappers by name. Needs no privileges."""
    from offramp import _native

    return tuple(PortKind(**entry) for entry in _native.ports())
