# SPDX-License-Identifier: Apache-2.0
"""The kinds of ports, and the wrappers that can be put around them, as the registry lists them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PortKind", "port_kinds"]


@dataclass(frozen=True, slots=True)
class PortKind:
    """A kind of port or, if `needs` is None, a wrapper. A wrapper needs what the port inside it needs."""

    name: str
    syntax: str  # as written in a name for `open_port`
    about: str
    needs: str | None  # the privileges and parts of the system that it needs
    usable: bool  # here and now; this was tried
    reason: str | None  # why it is not usable, and what to do


def port_kinds() -> tuple[PortKind, ...]:
    """All kinds by name, then all wrappers by name. Needs no privileges."""
    from offramp import _native

    return tuple(PortKind(**entry) for entry in _native.ports())
