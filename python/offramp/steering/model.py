# SPDX-License-Identifier: Apache-2.0
"""A model of a NIC's receive side: which queue a frame arrives on.

    frame ── n-tuple rules, lowest location first ── one matches ──> its queue, its VF, or nowhere (drop)
                       │ none
                       └── RSS: hash of the fields that its flow type hashes ──> table[hash % size]

Real NICs differ in four points, which the model takes as settings:
    ip_is_other     rules for ip4 and ip6 match only packets without a flow type of their own (i40e), or all IP (mlx5)
    types           the flow types that the NIC tells apart for rules; other packets are ip4 or ip6
    unhashed        the queue of frames that are not hashed: not IP, or a flow type without hash fields
    fragments       have no ports for rules, and RSS hashes only their addresses: this is true of all NICs

Source: ethtool(8), "-N rx-flow-hash" (letters); include/uapi/linux/ethtool.h; drivers as cited in facts/drivers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from offramp.immutable import field, immutable
from offramp.steering.headers import Headers, headers
from offramp.steering.rule import Rule, Term
from offramp.steering.toeplitz import toeplitz

__all__ = ["Rss", "Steering", "matches", "queue_of"]


@immutable
class Rss:
    """Receive side scaling. `fields`: ethtool's letters for each flow type; a missing flow type is not hashed."""

    table: tuple[int, ...]
    key: bytes
    fields: Mapping[str, str] = field(default_factory=dict)
    unhashed: int = 0  # queue


@immutable
class Steering:
    """All that decides a frame's queue."""

    rss: Rss
    rules: tuple[Rule, ...] = ()
    ip_is_other: bool = False
    types: frozenset[str] | None = None  # None: all

    def rule_of(self, frame: bytes | Headers) -> Rule | None:
        """The rule that takes the frame; None: RSS decides."""
        found = frame if isinstance(frame, Headers) else headers(frame)
        for rule in sorted(self.rules, key=_location):
            if matches(rule, found, ip_is_other=self.ip_is_other, types=self.types):
                return rule
        return None

    def queue_of(self, frame: bytes) -> int | None:
        """The queue of this interface that the frame arrives on; None: dropped by a rule, or sent to a VF."""
        found = headers(frame)
        rule = self.rule_of(found)
        if rule is None:
            return spread(self.rss, found)
        return None if rule.vf is not None else rule.queue


def queue_of(frame: bytes, rss: Rss, rules: Iterable[Rule] = ()) -> int | None:
    """`Steering.queue_of` in one call."""
    return Steering(rss, tuple(rules)).queue_of(frame)


def matches(rule: Rule, found: Headers, *, ip_is_other: bool = False, types: Collection[str] | None = None) -> bool:
    """Whether a rule applies to a frame."""
    flow = found.flow if types is None or found.flow in types else f"ip{found.version}"
    if rule.flow in ("ip4", "ip6"):
        if found.version != int(rule.flow[2]) or (ip_is_other and flow != rule.flow):
            return False
    elif rule.flow != "ether" and rule.flow != flow:
        return False
    return all(_holds(term, _value(term.field, found)) for term in rule.normal().terms)


def spread(rss: Rss, found: Headers) -> int:
    """The queue that RSS chooses."""
    letters = rss.fields.get(found.flow, "")
    if found.version and found.flow not in rss.fields:
        letters = rss.fields.get(f"ip{found.version}", "")
    data = hashed(found, letters)
    if not data or not rss.table:
        return rss.unhashed
    return rss.table[toeplitz(rss.key, data) % len(rss.table)]


def hashed(found: Headers, letters: str) -> bytes:
    """The hash's input: s and d are addresses; f and n are the first and second two bytes after IP (ports)."""
    parts = {"s": found.src_ip, "d": found.dst_ip, "f": found.first_four[:2], "n": found.first_four[2:]}
    return b"".join(parts[letter] for letter in "sdfn" if letter in letters)


def _holds(term: Term, value: int | None) -> bool:
    return value is not None and value & term.mask == term.value & term.mask


def _value(name: str, found: Headers) -> int | None:
    """The frame's value for a rule's field; None: it has none, and no rule about the field applies."""
    if name in ("vlan", "vlan-etype"):
        return (found.vlan_tci if name == "vlan" else found.vlan_ethertype) if found.vlan_ethertype else None
    if name in ("l4proto", "tos", "tclass"):
        return found.protocol if name == "l4proto" else found.tos
    if name == "proto":
        return found.ethertype
    raw = {
        "dst": found.dst,
        "dst-mac": found.dst,
        "src": found.src,
        "src-ip": found.src_ip,
        "dst-ip": found.dst_ip,
        "src-port": found.first_four[:2],
        "dst-port": found.first_four[2:],
        "spi": found.first_four,
        "l4data": found.first_four,
    }.get(name, b"")  # only the driver knows what user-def means: nothing here
    return int.from_bytes(raw) if raw else None


def _location(rule: Rule) -> int:
    return 1 << 31 if rule.location is None else rule.location
