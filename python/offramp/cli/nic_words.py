# SPDX-License-Identifier: Apache-2.0
"""The changes that `offramp nic INTERFACE CHANGE...` asks for, as knobs and values. Nothing is changed here.

    rss equal 4                         rss.table [0, 1, 2, 3, 0, ...]
    steer flow-type udp4 ... action 3   rule.1023 {...}
    vf 0 mac A trust on                 vf.0.mac "A", vf.0.trust true
    bind vfio-pci                       pci.driver "vfio-pci"

A change depends on what the interface has: the table's size, the free locations. The words are those of ethtool and ip
if they have one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from offramp.arguments import meant, one_of
from offramp.errors import InterfaceError, OptionError
from offramp.facts.knobs import Nic, Value, check
from offramp.steering import equal, parse_rule, weighted, without
from offramp.steering.rule import integer

__all__ = ["changes_of"]

Changes = list[tuple[str, Value]]

_PRIORITIES = 8
_RSS = ("equal", "weight", "without", "key", "function", "fields")


class _Words(list[str]):
    """The words of a line that are not read yet."""

    def take(self, what: str) -> str:
        if not self:
            raise OptionError(f"{what} is missing", hint="offramp nic --help")
        return self.pop(0)

    def number(self, what: str) -> int:
        return integer(what, self.take(what), 31)

    def switch(self, what: str) -> bool:
        word = self.take(f"on or off for {what}")
        if word not in ("on", "off"):
            raise OptionError(f"{what} {word}", reason="neither on nor off")
        return word == "on"

    def numbers(self, what: str) -> list[int]:
        found = []
        while self and self[0].isdecimal():
            found.append(self.number(what))
        if not found:
            raise OptionError(f"{what} is missing", hint="offramp nic --help")
        return found

    def end(self) -> None:
        if self:
            raise OptionError(f"unexpected: {' '.join(self)}", hint="offramp nic --help")


class _Verb(Protocol):
    def __call__(self, nic: Nic, words: _Words) -> Changes: ...


def changes_of(nic: Nic, words: list[str]) -> Changes:
    """The changes, checked, in the order in which they are to be made.

    Errors: OptionError naming the word; InterfaceError if the interface lacks what is to be changed.
    """
    rest = _Words(words)
    name = rest.take("rss, steer, vf or bind")
    if name not in _VERBS:
        raise OptionError(f"{name}: no such change", reason=f"not one of {', '.join(_VERBS)}", hint=meant(name, _VERBS))
    changes = _VERBS[name](nic, rest)
    rest.end()
    return [(knob, check(knob, value)) for knob, value in changes]


def _rss(nic: Nic, words: _Words) -> Changes:
    changes: Changes = []
    start = _start(words)
    while words or not changes:
        word = words.take("equal, weight, without, key, function or fields")
        match word:
            case "equal":
                changes.append(("rss.table", equal(len(_table(nic)), words.number("the number of queues"), start)))
            case "weight":
                changes.append(("rss.table", weighted(len(_table(nic)), words.numbers("a weight"), start)))
            case "without":
                changes.append(("rss.table", without(_table(nic), set(words.numbers("a queue")))))
            case "key" | "function":
                changes.append((f"rss.{word}", words.take(word)))
            case "fields":
                changes.append((f"rss.fields.{words.take('a flow type')}", words.take("the letters")))
            case _:
                one_of("rss", word, _RSS)
    return changes


def _start(words: _Words) -> int:
    """Take `start QUEUE` out of the words, wherever it stands."""
    if "start" not in words:
        return 0
    place = words.index("start")
    tail = _Words(words[place + 1 :])
    start = tail.number("a queue")
    words[place:] = tail
    return start


def _table(nic: Nic) -> list[int]:
    table: list[int] | None = nic.get("rss.table")
    if not table:
        raise InterfaceError(f"{nic.identity.name} has no RSS table", hint="offramp nic shows what it has")
    return table


def _steer(nic: Nic, words: _Words) -> Changes:
    if words[:1] == ["delete"]:
        words.pop(0)
        locations = words.numbers("a location")
        words.end()
        for location in locations:
            if nic.get(f"rule.{location}") is None:
                raise InterfaceError(f"{nic.identity.name} has no rule at location {location}")
        return [(f"rule.{location}", None) for location in locations]
    rule = parse_rule(list(words))
    words.clear()
    if rule.location is None:
        location = _free(nic)
    elif nic.get(f"rule.{rule.location}") is not None:
        raise InterfaceError(
            f"{nic.identity.name} has a rule at location {rule.location}",
            reason="offramp does not overwrite it",
            hint=f"leave loc out, or delete it first: steer delete {rule.location}",
        )
    else:
        location = rule.location
    return [(f"rule.{location}", rule.to_value())]


def _free(nic: Nic) -> int:
    """The last free location: the one of lowest priority, as ethtool chooses it."""
    able = nic.capabilities()
    if able.ntuple.supported is False:
        hint = f"try the interface below it: {', '.join(able.lower)}" if able.lower else "offramp nic shows what it has"
        raise InterfaceError(f"{nic.identity.name} takes no n-tuple rules", hint=hint)
    slots = able.ntuple.slots
    if slots is None:
        reason = "its driver does not say how many locations it has"
        raise InterfaceError(
            f"no location found for a rule on {nic.identity.name}", reason=reason, hint="choose one: loc NUMBER"
        )
    for location in reversed(range(slots)):
        if nic.get(f"rule.{location}") is None:
            return location
    raise InterfaceError(f"{nic.identity.name} has no free location", reason=f"all {slots} have a rule")


def _vf(nic: Nic, words: _Words) -> Changes:
    first = words.take("count, autoprobe or a VF's number")
    if first == "count":
        return [("vf.count", words.number("the number of VFs"))]
    if first == "autoprobe":
        return [("vf.autoprobe", words.switch("autoprobe"))]
    number = integer("vf", first, 8)
    if nic.get(f"vf.{number}.mac") is None:
        raise InterfaceError(f"{nic.identity.name} has no VF {number}", hint="offramp nic INTERFACE vf count N")
    changes: Changes = []
    while words or not changes:
        word = words.take("mac, vlan, trust or spoofchk")
        if word not in _VF_PARTS:
            raise OptionError(f"vf {number} {word}", reason=f"not one of {', '.join(_VF_PARTS)}")
        part, value = _VF_PARTS[word]
        changes.append((f"vf.{number}.{part}", value(words)))
    return changes


def _vlan(words: _Words) -> int:
    vlan, priority = words.number("a VLAN id"), 0
    if words[:1] == ["qos"]:
        words.pop(0)
        priority = words.number("a priority")
    if vlan >= 4095 or priority >= _PRIORITIES:
        raise OptionError(f"vlan {vlan} qos {priority}", reason="ids are 0 to 4094, priorities 0 to 7")
    return vlan | priority << 13


def _bind(nic: Nic, words: _Words) -> Changes:
    name = words.take("a driver, or none")
    return [("pci.driver", None if name == "none" else name)]


_VERBS: dict[str, _Verb] = {"rss": _rss, "steer": _steer, "vf": _vf, "bind": _bind}

_VF_PARTS: dict[str, tuple[str, Callable[[_Words], Value]]] = {
    "mac": ("mac", lambda words: words.take("a MAC address")),
    "vlan": ("vlan", _vlan),
    "trust": ("trust", lambda words: words.switch("trust")),
    "spoofchk": ("spoof_check", lambda words: words.switch("spoofchk")),
}
