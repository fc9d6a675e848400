# SPDX-License-Identifier: Apache-2.0
"""Rules that fit a table: with one mask where the NIC has only one, and no more rules than there are locations.

Each step here makes rules wider. Source: `one_mask_per` and `slots` in facts/drivers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from offramp.facts.capabilities import Masks
from offramp.planner.flow import Bits, Flow
from offramp.planner.typed import NAMES, CannotSteer, Typed, fields_of, least_typed
from offramp.steering import Rule

__all__ = ["Known", "fewer", "one_mask"]

Known = Mapping[str, Mapping[str, Masks]]  # flow type -> field -> masks that are taken


def one_mask(
    wanted: list[Typed], per: str, present: list[Rule], known: Known, left_out: set[str]
) -> tuple[list[Typed], bool]:
    """Give the rules the masks that they have in common, where the NIC wants the same for all. Also returns whether
    rules of others decide which masks those are. Errors: CannotSteer.
    """
    if per == "rule":
        return wanted, False
    if per == "table":
        wanted = _one_kind(wanted, present, known, left_out)
    groups: dict[str, list[Typed]] = defaultdict(list)
    for each in wanted:
        groups[each.type if per == "flow type" else ""].append(each)
    result, fixed = [], False
    for key, group in groups.items():
        masks = _common(each.flow for each in group)
        for rule in present:
            if key in ("", rule.flow):
                theirs, fixed = _of_rule(rule).masks, True
                if any(mask is not None and mask & ~(ours or 0) for mask, ours in zip(theirs, masks, strict=True)):
                    raise CannotSteer(f"all its rules have to compare the same fields, and it already has {rule}")
                masks = theirs
        for each in group:
            narrowed = Typed(each.type, each.flow.masked(masks))
            left_out.update(_lost(each.flow, narrowed.flow))
            if narrowed.wide:
                raise CannotSteer(
                    f"its rules{f' for {key}' if key else ''} all have to compare the same fields, and the parts of "
                    "the match have none in common"
                )
            result.append(narrowed)
    return least_typed(result), fixed


def _one_kind(wanted: list[Typed], present: list[Rule], known: Known, left_out: set[str]) -> list[Typed]:
    """Where all rules have one mask, it also says whether the transport protocol is compared."""
    of_ip = [each.type.startswith("ip") for each in wanted] + [rule.flow.startswith("ip") for rule in present]
    if not any(of_ip) or all(of_ip):
        return wanted
    for rule in present:
        if not rule.flow.startswith("ip"):
            raise CannotSteer(f"all its rules have to compare the same fields, and it already has {rule}")
    for each in wanted:
        if each.type == "ether" or f"ip{each.type[-1]}" not in known:
            raise CannotSteer(f"it cannot have rules for {each.type} and for other flow types at once")
    left_out |= {"protocol", "sport", "dport"}
    return [Typed(f"ip{each.type[-1]}", each.flow._replace(protocol=None, sport=None, dport=None)) for each in wanted]


def _common(flows: Iterable[Flow]) -> tuple[int | None, ...]:
    def both(one: int | None, two: int | None) -> int | None:
        return None if one is None or two is None else one & two or None

    first, *others = (flow.masks for flow in flows)
    for masks in others:
        first = tuple(map(both, first, masks))
    return first


def _lost(before: Flow, after: Flow) -> set[str]:
    return {name for name, one, two in zip(NAMES, before.masks, after.masks, strict=True) if one != two}


def _of_rule(rule: Rule) -> Flow:
    """Errors: CannotSteer for a rule that compares something a flow does not have."""
    names = {field: name for name, field in fields_of(rule.flow).items()}
    parts = {}
    for term in rule.normal().terms:
        if term.field not in names:
            raise CannotSteer(f"all its rules have to compare the same fields, and it already has {rule}")
        parts[names[term.field]] = Bits(term.value, term.mask)
    return Flow(**parts)


def fewer(wanted: list[Typed], room: int, known: Known, left_out: set[str]) -> list[Typed]:
    """At most `room` rules; none if they would be too wide. One part of the flows loses its last bits, as few as will
    do; it is the part that leaves the most rules. If that is not enough, the part is dropped, and then another one.
    """
    while len(wanted) > room:
        shorter = {name: found for name in NAMES if (found := _shorter(wanted, name, room, known)) != wanted}
        possible = {name: found for name, found in shorter.items() if not any(each.wide for each in found)}
        if not possible:
            return []
        fitting = [name for name in possible if len(possible[name]) <= room]
        name = max(fitting or possible, key=lambda name: len(possible[name]) * (1 if fitting else -1))
        left_out.add(name)
        wanted = least_typed(possible[name])
    return wanted


def _shorter(wanted: list[Typed], name: str, room: int, known: Known) -> list[Typed]:
    """The rules without a part's last bits: as few bits as get them down to `room`. Else without the whole part."""
    having = [each for each in wanted if getattr(each.flow, name) is not None]
    kinds = {known[each.type][fields_of(each.type)[name]] for each in having}
    size = max((getattr(each.flow, name).mask.bit_length() for each in having), default=0)
    low, high = size if "full" in kinds else min(1, size), size
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(_without(wanted, name, middle)) <= room else (middle + 1, high)
    return _without(wanted, name, high)


def _without(wanted: list[Typed], name: str, bits: int) -> list[Typed]:
    """The rules without the last bits of one part, duplicates removed."""
    found: dict[Typed, None] = {}
    for each in wanted:
        part = getattr(each.flow, name)
        if part is not None:
            mask = part.mask >> bits << bits
            each = Typed(each.type, each.flow._replace(**{name: Bits(part.value & mask, mask) if mask else None}))
        found[each] = None
    return list(found)
