# SPDX-License-Identifier: Apache-2.0
"""n-tuple rules on a real interface, and their bytes: what `ethtool -n` shows and `ethtool -N ... flow-type` changes.

    struct ethtool_rxnfc          command, flow u32 | data u64 | ethtool_rx_flow_spec | count or context u32 | locations
    struct ethtool_rx_flow_spec   flow type u32 | fields 52 B | ext 20 B | masks 52 B | ext masks 20 B | pad |
                                  action u64 | location u32 | pad                                         168 bytes

Here, bits that are 1 in a mask are compared, as in steering.Term; on ethtool's command line they are ignored.
Listing needs no privileges; changing needs CAP_NET_ADMIN. Source: include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import replace

from offramp.errors import KernelError
from offramp.immutable import immutable
from offramp.steering import Rule, Term
from offramp.steering.fields import FLOWS, OVERLAYS, Field
from offramp.syscalls.ioctl import ask, tell

__all__ = ["RuleTable", "delete", "delete_request", "flow_spec", "insert", "insert_request", "read", "rule_of", "table"]

_COUNT, _RULE, _ALL, _DELETE, _INSERT = 0x2E, 0x2F, 0x30, 0x31, 0x32  # GRXCLSRLCNT ... SRXCLSRLINS
_EXT, _MAC_EXT, _RSS = 1 << 31, 1 << 30, 1 << 29  # FLOW_EXT, FLOW_MAC_EXT, FLOW_RSS
_SPECIAL = 1 << 31  # RX_CLS_LOC_SPECIAL: the driver can choose locations
_IP4_VERSION = 13, 1  # usr_ip4_spec.ip_ver = ETH_RX_NFC_IP4

_HEAD = struct.Struct("IIQ")
_SPEC = struct.Struct("I52s20s52s20s4xQI4x")
_SIZE = 192  # with the count or context, and the padding at its end


@immutable
class RuleTable:
    """Which locations are taken. `size` is None if the driver does not say how many there are."""

    locations: tuple[int, ...]
    size: int | None
    chooses: bool  # the driver can choose locations; some such drivers accept no others

    def free(self) -> int | None:
        """The last free location, which has the lowest priority, as ethtool chooses it; None: full,
        or of unknown size.
        """
        taken = set(self.locations)
        return next((place for place in reversed(range(self.size or 0)) if place not in taken), None)


def table(interface: str) -> RuleTable | None:
    """The rules' locations; None for an interface that has no such rules."""
    what = "its n-tuple rules"
    answer = ask(interface, bytearray(_HEAD.pack(_COUNT, 0, 0).ljust(_SIZE, b"\0")), what)
    if not answer:
        return None
    _, _, data = _HEAD.unpack_from(answer)
    (count,) = struct.unpack_from("I", answer, _HEAD.size + _SPEC.size)
    head = _HEAD.pack(_ALL, 0, 0) + bytes(_SPEC.size)
    answer = ask(interface, bytearray(head + struct.pack("I", count) + bytes(4 * count + 4)), what)
    if not answer:
        return None
    _, _, size = _HEAD.unpack_from(answer)
    (count,) = struct.unpack_from("I", answer, len(head))
    locations = struct.unpack_from(f"{count}I", answer, len(head) + 4)
    return RuleTable(tuple(sorted(locations)), size & ~_SPECIAL or None, bool(data & _SPECIAL))


def read(interface: str, location: int) -> Rule | None:
    """The rule at a location; None: it is free, there are no rules, or ethtool has no word for its type."""
    found = table(interface)
    if found is None or location not in found.locations:
        return None
    asked = _HEAD.pack(_RULE, 0, 0) + _SPEC.pack(0, b"", b"", b"", b"", 0, location)
    answer = ask(interface, bytearray(asked.ljust(_SIZE, b"\0")), f"rule {location}")
    if not answer:
        return None
    (context,) = struct.unpack_from("I", answer, _HEAD.size + _SPEC.size)
    return rule_of(answer[_HEAD.size :], context)


def insert(interface: str, rule: Rule) -> int:
    """Put a rule at its location, which must be free. Returns its final location. Errors: KernelError: EEXIST (the
    location is taken), EINVAL, EOPNOTSUPP (the driver cannot do such a rule), ENOSPC (full).
    """
    found = table(interface)
    if found is None:
        raise KernelError(f"rules on {interface}", errno.EOPNOTSUPP, hint="its driver has no n-tuple rules")
    location = found.free() if rule.location is None else rule.location
    if location is None:
        raise KernelError(f"rules on {interface}", errno.ENOSPC, hint="its table is full: delete one first")
    if location in found.locations:
        raise KernelError(f"rule {location} of {interface}", errno.EEXIST, hint="first delete the rule that is there")
    placed = replace(rule, location=location)
    answer = tell(interface, insert_request(placed), f"rule {placed}")
    return int(_SPEC.unpack_from(answer, _HEAD.size)[-1])


def delete(interface: str, location: int) -> None:
    """Delete a rule. Errors: KernelError: ENOENT (EINVAL from some drivers) if there is none."""
    tell(interface, delete_request(location), f"deleting rule {location}")


def insert_request(rule: Rule) -> bytes:
    """The bytes of `ethtool -N ... flow-type ...` for a rule that has a location."""
    spec = _HEAD.pack(_INSERT, 0, 0) + flow_spec(rule)
    return (spec + struct.pack("I", rule.context or 0)).ljust(_SIZE, b"\0")


def delete_request(location: int) -> bytes:
    """The bytes of `ethtool -N ... delete`."""
    return (_HEAD.pack(_DELETE, 0, 0) + _SPEC.pack(0, b"", b"", b"", b"", 0, location)).ljust(_SIZE, b"\0")


def flow_spec(rule: Rule) -> bytes:
    """struct ethtool_rx_flow_spec."""
    parts = {"flow": (bytearray(52), bytearray(52)), "ext": (bytearray(20), bytearray(20))}
    number = FLOWS[rule.flow].number | (_RSS if rule.context is not None else 0)
    for term in rule.terms:
        field = rule.fields[term.field]
        values, masks = parts["flow" if field.where == "flow" else "ext"]
        # Two names may share bytes (l4data and the ports of ip4), but never within one rule.
        values[field.offset : field.offset + field.size] = term.value.to_bytes(field.size)
        masks[field.offset : field.offset + field.size] = term.mask.to_bytes(field.size)
        number |= {"flow": 0, "ext": _EXT, "mac-ext": _MAC_EXT}[field.where]
    (values, masks), (more, more_masks) = parts["flow"], parts["ext"]
    if rule.flow == "ip4":
        offset, version = _IP4_VERSION
        values[offset] = version
    return _SPEC.pack(number, values, more, masks, more_masks, rule.action, rule.location or 0)


def rule_of(spec: bytes, context: int = 0) -> Rule | None:
    """The rule in a struct ethtool_rx_flow_spec, in its normal form; None for a flow type without a name."""
    number, values, more, masks, more_masks, action, location = _SPEC.unpack_from(spec)
    plain = number & ~(_EXT | _MAC_EXT | _RSS)
    flow = next((name for name, known in FLOWS.items() if known.number == plain), None)
    if flow is None:
        return None
    announced = {"flow": True, "ext": bool(number & _EXT), "mac-ext": bool(number & _MAC_EXT)}
    terms = []
    for field in FLOWS[flow].fields.values():
        if announced[field.where] and not _is_overlay(flow, field):
            value, mask = (values, masks) if field.where == "flow" else (more, more_masks)
            terms.append(Term(field.name, _number(value, field), _number(mask, field)))
    return Rule(flow, tuple(terms), action, location, context if number & _RSS else None).normal()


def _number(part: bytes, field: Field) -> int:
    return int.from_bytes(part[field.offset : field.offset + field.size])


def _is_overlay(flow: str, field: Field) -> bool:
    return "l4data" in FLOWS[flow].fields and field.name in OVERLAYS
