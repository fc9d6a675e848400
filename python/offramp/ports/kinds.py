# SPDX-License-Identifier: Apache-2.0
"""The kinds of ports, the wrappers that can be put around them, and their options, as the registry lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offramp.immutable import immutable

if TYPE_CHECKING:
    from offramp import _native

__all__ = ["PortKind", "PortOption", "port_kinds"]


@immutable
class PortOption:
    """An option of a kind of port, or of a wrapper."""

    name: str
    about: str
    allowed: str  # in words: "from 1 to 1024", "yes or no"
    default: str


@immutable
class PortKind:
    """A kind of port or, if `needs` is None, a wrapper. A wrapper needs what the port inside it needs."""

    name: str
    syntax: str  # as written in a name for `open_port`
    about: str
    options: tuple[PortOption, ...]
    needs: str | None  # the privileges and parts of the system that it needs
    usable: bool  # here and now; this was tried
    reason: str | None  # why it is not usable, and what to do


def port_kinds() -> tuple[PortKind, ...]:
    """All kinds by name, then all wrappers by name. Needs no privileges."""
    from offramp import _native

    return tuple(_kind(**entry) for entry in _native.ports())


def _kind(options: list[_native._PortOption], **entry: Any) -> PortKind:
    return PortKind(options=tuple(PortOption(**option) for option in options), **entry)
