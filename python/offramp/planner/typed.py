# SPDX-License-Identifier: Apache-2.0
"""A flow as an n-tuple rule says it: a flow type, and the parts that rules of that type can compare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from offramp.immutable import immutable
from offramp.match.protocols import IP, IP6
from offramp.planner.flow import Bits, Flow, least
from offramp.steering import Rule, Term

__all__ = ["NAMES", "CannotSteer", "Typed", "fields_of", "least_typed"]

NAMES: Final = tuple(Flow._fields)

# The parts of a flow as fields of a rule.
_IP_FIELDS: Final = {
    "src": "src-ip",
    "dst": "dst-ip",
    "sport": "src-port",
    "dport": "dst-port",
    "vlan": "vlan",
    "protocol": "l4proto",
    "edst": "dst-mac",
}
_ETHER_FIELDS: Final = {"ethertype": "proto", "esrc": "src", "edst": "dst", "vlan": "vlan"}
_IP_TYPES: Final = (Bits(IP, 0xFFFF), Bits(IP6, 0xFFFF))


class CannotSteer(Exception):
    """The NIC cannot bring the flows of a match to a queue of their own. `sees`: the one IP version that it could."""

    def __init__(self, reason: str, hint: str = "", *, sees: Literal[4, 6] | None = None) -> None:
        self.reason, self.hint, self.sees = reason, hint, sees
        super().__init__(reason)


@immutable
class Typed:
    """Packets of a flow type, with only the parts that its rules can compare."""

    type: str  # the flow type in ethtool's words
    flow: Flow

    def rule(self, action: int, location: int) -> Rule:
        names = fields_of(self.type)
        parts = ((name, part) for name, part in zip(NAMES, self.flow, strict=True) if part is not None)
        return Rule(self.type, tuple(Term(names[name], *part) for name, part in parts), action, location)

    @property
    def wide(self) -> bool:
        """Whether it is all packets of a common kind: too many for one queue, and surely not what the user meant."""
        names = {name: part for name, part in zip(NAMES, self.flow, strict=True) if part is not None}
        return not names or (
            len(names) == 1
            and (names.get("protocol", Bits(0, 0)).value in (6, 17) or names.get("ethertype") in _IP_TYPES)
        )


def fields_of(type_: str) -> Mapping[str, str]:
    """The field names that the parts of a flow have in rules of this flow type."""
    return _ETHER_FIELDS if type_ == "ether" else _IP_FIELDS


def least_typed(wanted: Iterable[Typed]) -> list[Typed]:
    """The flows, sorted, without those that are part of another one."""
    by_type: dict[str, list[Flow]] = defaultdict(list)
    for each in wanted:
        by_type[each.type].append(each.flow)
    return [Typed(type_, flow) for type_ in sorted(by_type) for flow in least(by_type[type_])]
