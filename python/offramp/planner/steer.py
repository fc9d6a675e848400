# SPDX-License-Identifier: Apache-2.0
"""Flows as n-tuple rules that a driver takes. Each step makes the rules wider or more numerous, never narrower.

    flows ── in the driver's flow types ── with its fields and masks ── one mask if it takes only one
                                                       └── as few as there are free locations ──> rules

A rule that would bring all of TCP or all of IPv4, for example, is not used: CannotSteer says why, and what would help.
Source: facts/drivers for what drivers take; ethtool(8), "-N --config-nfc".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from math import prod
from typing import Final, Literal

from offramp.facts.capabilities import Masks, Ntuple
from offramp.immutable import immutable
from offramp.planner.fit import fewer, one_mask
from offramp.planner.flow import Bits, Flow
from offramp.planner.typed import NAMES, CannotSteer, Typed, fields_of, least_typed
from offramp.steering import Rule, parse_rule
from offramp.steering.fields import FLOWS

__all__ = ["PROTOCOLS", "Steered", "steered"]

PROTOCOLS: Final = {6: "tcp", 17: "udp", 132: "sctp", 51: "ah", 50: "esp"}  # protocols with flow types of their own
_ASSUMED_SLOTS = 16  # the fewest of all known drivers
_MOST_VALUES = 64  # rules for one flow, where a driver takes no masks

_WORDS: Final = {
    "ethertype": "the ethertype",
    "vlan": "the VLAN",
    "protocol": "the IP protocol",
    "src": "the source address",
    "dst": "the destination address",
    "sport": "the source port",
    "dport": "the destination port",
    "esrc": "the source station",
    "edst": "the destination station",
}

# What to try on an unknown driver.
_FULL: Final[Mapping[str, Masks]] = {"src-ip": "full", "dst-ip": "full"}
_WITH_PORTS: Final[Mapping[str, Masks]] = {**_FULL, "src-port": "full", "dst-port": "full"}
_COMMON: Final[Mapping[str, Mapping[str, Masks]]] = {
    **dict.fromkeys(("tcp4", "udp4", "tcp6", "udp6"), _WITH_PORTS),
    **dict.fromkeys(("ip4", "ip6"), _FULL),
}


@immutable
class Steered:
    """Rules at free locations, and in words what they do not compare of the flows."""

    rules: tuple[Rule, ...]
    left_out: tuple[str, ...]
    first: tuple[str, ...]  # rules of others that may take some of the packets before ours


def steered(flows: Iterable[Flow], able: Ntuple, action: int, driver: str) -> Steered:
    """Errors: CannotSteer."""
    known = able.flows if able.flows is not None else _COMMON
    present = [parse_rule(words) for words in able.rules or ()]
    left_out: set[str] = set()
    wanted = [
        narrowed
        for flow in flows
        for type_ in _types(flow, known, able.ip_is_other is not False, driver)
        for narrowed in _admitted(type_, flow, known[type_], left_out)
    ]
    for each in wanted:
        if each.wide:
            raise CannotSteer(f"its rules would have to bring all packets of flow type {each.type}")
    wanted, masks_fixed = one_mask(least_typed(wanted), able.one_mask_per or "flow type", present, known, left_out)
    locations = _free_locations(able.slots or _ASSUMED_SLOTS, present)
    if len(wanted) > len(locations):
        needed = f"the match needs {len(wanted)} rules, and only {len(locations)} can be added"
        if masks_fixed:
            raise CannotSteer(f"{needed}, with the masks of the rules that it already has")
        wanted = fewer(wanted, len(locations), known, left_out)
        if not wanted:
            raise CannotSteer(needed)
    rules = [each.rule(action, location) for each, location in zip(wanted, locations, strict=False)]
    first = [str(rule) for rule in present if any(_overlap(rule, ours) for ours in rules)]
    return Steered(tuple(rules), tuple(_WORDS[name] for name in NAMES if name in left_out), tuple(first))


# -- flow types and fields ---------------------------------------------------------------------------------------------


def _types(flow: Flow, known: Mapping[str, object], ip_is_other: bool, driver: str) -> list[str]:
    """The flow types whose rules together see all packets of the flow."""
    version = flow.version
    if version is not None:
        number = flow.protocol.value if flow.protocol else None
        own = f"{PROTOCOLS[number]}{version}" if number in PROTOCOLS else ""
        if own in known:
            return [own]
        if f"ip{version}" in known:
            others = [f"{name}{version}" for name in PROTOCOLS.values()] if ip_is_other and number is None else []
            return [type_ for type_ in others if type_ in known] + [f"ip{version}"]
    if "ether" in known and (version is None or flow.esrc or flow.edst):
        return ["ether"]
    if version is None:
        raise CannotSteer(f"{driver}'s rules compare IP packets only")
    other: Literal[4, 6] = 4 if version == 6 else 6
    if f"ip{other}" not in known:
        raise CannotSteer(f"{driver}'s rules do not see IP packets")
    raise CannotSteer(f"the match is also about IPv{version}, and {driver}'s rules see only IPv{other}", sees=other)


def _implied(type_: str) -> tuple[str, ...]:
    """The parts of a flow that its flow type implies."""
    if type_ == "ether":
        return ()
    return ("ethertype",) if type_.startswith("ip") else ("ethertype", "protocol")


def _admitted(type_: str, flow: Flow, fields: Mapping[str, Masks], left_out: set[str]) -> list[Typed]:
    """The flow with masks that the driver takes; several flows if it only takes whole values."""
    names = fields_of(type_)
    choices: dict[str, list[Bits]] = {}
    for name, bits in zip(NAMES, flow, strict=True):
        if bits is None or name in _implied(type_):
            continue
        field = names.get(name, "")
        values = _values(bits, fields[field], 8 * FLOWS[type_].fields[field].size) if field in fields else []
        if values != [bits]:
            left_out.update([name] if len(values) < 2 else [])
        if values:
            choices[name] = values
    while prod(map(len, choices.values())) > _MOST_VALUES:
        longest = max(choices, key=lambda name: len(choices[name]))
        left_out.add(longest)
        del choices[longest]
    return [Typed(type_, Flow(**dict(zip(choices, values, strict=True)))) for values in product(*choices.values())]


def _values(bits: Bits, masks: Masks, size: int) -> list[Bits]:
    """The bits with masks that are taken: together the same numbers, or more. Empty if the field cannot be compared."""
    ones = (1 << size) - 1
    if not bits.mask:
        return []
    if masks == "any" or bits.mask == ones:
        return [bits]
    if masks == "prefix":
        zeros = ones ^ bits.mask
        leading = ones ^ ((1 << zeros.bit_length()) - 1)
        return [Bits(bits.value & leading, leading)] if leading else []
    free = [position for position in range(size) if not bits.mask >> position & 1]
    if 1 << len(free) > _MOST_VALUES:
        return []
    added = (
        sum(1 << position for index, position in enumerate(free) if number >> index & 1)
        for number in range(1 << len(free))
    )
    return [Bits(bits.value | extra, ones) for extra in added]


# -- beside others' rules ----------------------------------------------------------------------------------------------


def _free_locations(slots: int, present: list[Rule]) -> list[int]:
    """The free locations from the last one down, as ethtool chooses them: existing rules stay in front."""
    taken = {rule.location for rule in present}
    return [location for location in reversed(range(slots)) if location not in taken]


def _overlap(one: Rule, two: Rule) -> bool:
    """Whether a packet could match both. Fields of different kinds count as compatible."""
    versions = {rule.flow[-1] for rule in (one, two)} - {"r"}
    if len(versions) > 1 or (one.flow != two.flow and not {one.flow[:2], two.flow[:2]} & {"ip", "et"}):
        return False
    theirs = {term.field: term for term in two.normal().terms}
    return not any(
        (term.value ^ theirs[term.field].value) & term.mask & theirs[term.field].mask
        for term in one.normal().terms
        if term.field in theirs
    )
