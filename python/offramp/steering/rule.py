# SPDX-License-Identifier: Apache-2.0
"""An n-tuple rule as a value: packets of one flow type whose fields have these values go to that queue.

    Rule("udp4", (Term("dst-port", 53),), action=3, location=1023)

    action    cookie (u64)     means
    3         queue            the receive queue 3 of this function
    vf 0      1 << 32 | queue  a queue of VF 0: bits 32 to 39 are the VF's number plus one (4294967296: VF 0, queue 0)
    DROP      2**64 - 1        no queue: discarded by the NIC
    WAKE      2**64 - 2        used for Wake-on-LAN

If several rules match a packet, the one with the lowest location decides.
Source: include/uapi/linux/ethtool.h, struct ethtool_rx_flow_spec, ETHTOOL_RX_FLOW_SPEC_RING_VF.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from offramp.errors import OptionError
from offramp.immutable import immutable
from offramp.steering.fields import FLOWS, OVERLAYS, Field, Flow

__all__ = ["DROP", "WAKE", "Rule", "Term", "cookie"]

DROP, WAKE = (1 << 64) - 1, (1 << 64) - 2
_SPECIAL = {-1: DROP, -2: WAKE}
_VF_SHIFT, _VFS = 32, 255
_LOCATIONS = 1 << 31  # larger numbers have a special meaning (RX_CLS_LOC_SPECIAL)


def cookie(queue: int, vf: int | None = None) -> int:
    """The action that delivers to a queue; to a VF's queue if `vf` is given. Errors: OptionError."""
    if not 0 <= queue < 1 << _VF_SHIFT:
        raise OptionError(f"queue {queue}", reason="not from 0 to 4294967295")
    if vf is not None and not 0 <= vf < _VFS:
        raise OptionError(f"vf {vf}", reason=f"not from 0 to {_VFS - 1}")
    return queue if vf is None else vf + 1 << _VF_SHIFT | queue


@immutable
class Term:
    """One field: the bits of `value` where `mask` is 1 are compared (in ethtool's `m` a 1 means *ignored*)."""

    field: str
    value: int
    mask: int = -1  # the whole field


@immutable
class Rule:
    """Checked when created; its terms are put in the order of fields.py. Errors: OptionError naming the part."""

    flow: str  # ethtool's word: "udp4"
    terms: tuple[Term, ...]
    action: int  # the cookie
    location: int | None = None  # None: not chosen yet
    context: int | None = None  # an RSS context; its table is added to the queue

    def __post_init__(self) -> None:
        fields = _flow(self.flow).fields
        for term in self.terms:
            if term.field not in fields:
                known = ", ".join(fields)
                raise OptionError(f"{term.field} in a rule for {self.flow}", reason=f"it has {known}")
        order = {name: position for position, name in enumerate(fields)}
        sized = [_sized(term, fields[term.field]) for term in sorted(self.terms, key=lambda term: order[term.field])]
        _check_overlaps(self.flow, [term.field for term in sized])
        object.__setattr__(self, "terms", tuple(sized))
        _check("action", self.action, 1 << 64)
        _check("loc", self.location, _LOCATIONS)
        _check("context", self.context, (1 << 32) - 1)

    @property
    def queue(self) -> int | None:
        """The receive queue; None if the action is to drop or wake."""
        return None if self.action in (DROP, WAKE) else self.action & (1 << _VF_SHIFT) - 1

    @property
    def vf(self) -> int | None:
        """The VF that the queue belongs to; None: the interface itself."""
        number = self.action >> _VF_SHIFT & 0xFF
        return None if self.action in (DROP, WAKE) or not number else number - 1

    @property
    def fields(self) -> dict[str, Field]:
        """The fields that rules of this flow type can have."""
        return _flow(self.flow).fields

    def normal(self) -> Rule:
        """The form that all rules with this meaning share: only compared bits, one name for each place."""
        merged: dict[str, Term] = {}
        for term in self.terms:
            name, shift = term.field, 0
            if "l4data" in self.fields and name in OVERLAYS:
                name, shift = "l4data", OVERLAYS[term.field]
            before = merged.get(name, Term(name, 0, 0))
            mask = before.mask | term.mask << shift
            merged[name] = Term(name, (before.value | term.value << shift) & mask, mask)
        return replace(self, terms=tuple(term for term in merged.values() if term.mask))

    def to_value(self) -> dict[str, int | str]:
        """As JSON, in ethtool's words: {"flow-type": "udp4", "src-ip": "10.0.0.0", "src-ip-mask": "0.0.0.255", ...}.

        A bit that is 1 in a mask is ignored, as in ethtool. The location is not in it: it is the rule's name.
        """
        value: dict[str, int | str] = {"flow-type": self.flow}
        for term in self.terms:
            field = self.fields[term.field]
            value[term.field] = _plain(field, term.value)
            if term.mask != field.ones:
                value[f"{term.field}-mask"] = _plain(field, term.mask ^ field.ones)
        if self.context is not None:
            value["context"] = self.context
        if self.vf is not None:
            return value | {"vf": self.vf, "queue": self.action & (1 << _VF_SHIFT) - 1}
        return value | {"action": self.action - (1 << 64) if self.action >= WAKE else self.action}

    @classmethod
    def from_value(cls, value: Mapping[str, object], location: int | None = None) -> Rule:
        """A rule from `to_value`'s form; numbers may also be text. Errors: OptionError naming the part."""
        given = {key: value[key] for key in value}
        flow = given.pop("flow-type", None)
        if not isinstance(flow, str):
            raise OptionError("a rule without flow-type", reason=f"one of {', '.join(FLOWS)}")
        action, context = _action(given), given.pop("context", None)
        terms = []
        for name in [name for name in given if not name.endswith("-mask")]:
            field = _flow(flow).fields.get(name)
            if field is None:
                raise OptionError(f"{name} in a rule for {flow}", reason=f"it has {', '.join(_flow(flow).fields)}")
            ignored = given.pop(f"{name}-mask", 0)
            mask = field.ones ^ (_number(f"{name}-mask", field, ignored) if ignored != 0 else 0)
            terms.append(Term(name, _number(name, field, given.pop(name)), mask))
        for left in given:
            raise OptionError(f"{left} in a rule for {flow}", reason="a mask without its field")
        return cls(flow, tuple(terms), action, location, None if context is None else integer("context", context, 32))

    def __str__(self) -> str:
        words = ["flow-type", self.flow]
        for name, value in list(self.to_value().items())[1:]:
            field = self.fields.get(name.removesuffix("-mask"))
            is_mask = name not in self.fields and field is not None
            hexadecimal = isinstance(value, int) and field is not None and (is_mask or field.form == "hex")
            words += ["m" if is_mask else name, f"{value:#x}" if hexadecimal else str(value)]
        return " ".join(words if self.location is None else [*words, "loc", str(self.location)])


def integer(what: str, value: object, bits: int) -> int:
    """A number as strtoull(3) reads it with base 0: decimal, 0x..., or octal with a leading 0. Errors: OptionError."""
    try:
        if isinstance(value, str):
            text = value.lower()
            octal = len(text) > 1 and text[0] == "0" and text[1] in "01234567"
            number = int(text, 8 if octal else 0)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            raise ValueError(value)
    except ValueError:
        raise OptionError(f"{what} {value}", reason="not a number") from None
    if bits == 64 and -(1 << 63) <= number < 0:
        number += 1 << 64
    if not 0 <= number < 1 << bits:
        raise OptionError(f"{what} {value}", reason=f"not a number of {bits} bits")
    return number


def _number(what: str, field: Field, value: object) -> int:
    """The number that people write for a field. Errors: OptionError."""
    if field.form == "ip" and isinstance(value, str):
        try:
            address = ip_address(value)
        except ValueError:
            raise OptionError(f"{what} {value}", reason="not an address") from None
        if len(address.packed) != field.size:
            raise OptionError(f"{what} {value}", reason=f"not an IPv{4 if field.size == 4 else 6} address")
        return int(address)
    if field.form == "mac" and isinstance(value, str):
        parts = value.split(":")
        try:
            if len(parts) != 6 or not all(0 < len(part) <= 2 for part in parts):
                raise ValueError(value)
            return int.from_bytes(bytes(int(part, 16) for part in parts))
        except ValueError:
            raise OptionError(f"{what} {value}", reason="not a MAC address") from None
    if field.form in ("ip", "mac"):
        raise OptionError(f"{what} {value}", reason="not an address in text")
    return integer(what, value, 8 * field.size)


def _plain(field: Field, number: int) -> int | str:
    if field.form == "ip":
        return str(IPv4Address(number) if field.size == 4 else IPv6Address(number))
    return number.to_bytes(field.size).hex(":") if field.form == "mac" else number


def _action(given: dict[str, object]) -> int:
    """Take `action`, or `vf` and `queue`, out of a rule's parts."""
    if "action" in given:
        if "vf" in given or "queue" in given:
            raise OptionError("action with vf or queue", reason="they are two ways to say the same")
        return integer("action", given.pop("action"), 64)
    if "vf" not in given and "queue" not in given:
        raise OptionError("a rule without an action", reason="add action QUEUE, action -1 (drop), or vf N queue N")
    vf = given.pop("vf", None)
    return cookie(integer("queue", given.pop("queue", 0), 32), None if vf is None else integer("vf", vf, 8))


def _flow(name: str) -> Flow:
    if name not in FLOWS:
        raise OptionError(f"flow-type {name}", reason=f"not one of {', '.join(FLOWS)}")
    return FLOWS[name]


def _sized(term: Term, field: Field) -> Term:
    mask = field.ones if term.mask == -1 else term.mask
    if not (0 <= term.value <= field.ones and 0 <= mask <= field.ones):
        raise OptionError(f"{term.field} {term.value} mask {term.mask}", reason=f"not of {8 * field.size} bits")
    return Term(term.field, term.value, mask)


def _check_overlaps(flow: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"{name} twice in a rule for {flow}")
    whole = [name for name in names if flow in ("ip4", "ip6") and name in ("l4data", "spi")]
    if len(whole) > 1 or (whole and {"src-port", "dst-port"} & set(names)):
        raise OptionError(f"{whole[0]}, and another name for its bytes, in a rule for {flow}")


def _check(what: str, value: int | None, limit: int) -> None:
    if value is not None and not 0 <= value < limit:
        raise OptionError(f"{what} {value}", reason=f"not from 0 to {limit - 1}")
