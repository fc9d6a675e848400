# SPDX-License-Identifier: Apache-2.0
"""What `offramp nic` shows, as text and as JSON. Pure: from values to lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from offramp.facts.capabilities import NTUPLE
from offramp.facts.offloads import GRO, LRO, VLAN_STRIPPING
from offramp.text import printable

if TYPE_CHECKING:
    from offramp.facts.capabilities import Capabilities, Queues, XdpSupport
    from offramp.facts.identity import Identity
    from offramp.nic.ethtool import Driver
    from offramp.nic.rates import Rates

__all__ = ["text", "to_dict"]

_UNKNOWN = "not known"

# Features that decide what XDP and rules see: the kernel's names, and the names that people use.
_FEATURES = {
    NTUPLE: "n-tuple rules",
    "rx-hashing": "hash in descriptors",
    VLAN_STRIPPING.feature: VLAN_STRIPPING.words,
    GRO.feature: GRO.words,
    "rx-gro-hw": "hardware GRO",
    LRO.feature: LRO.words,
}


def to_dict(identity: Identity, able: Capabilities, rates: Rates) -> dict[str, object]:
    """JSON-ready; what is not known is left out."""
    return {"identity": asdict(identity), "capabilities": able.to_dict(), "rates": rates.to_dict()}


def text(identity: Identity, driver: Driver | None, able: Capabilities, rates: Rates) -> str:
    """A page for people."""
    lines = [f"{able.interface}  {_driver(identity, driver, able)}"]
    for name, parts in _sections(able, rates):
        lines += [f"  {name if number == 0 else '':<9} {part}" for number, part in enumerate(parts)]
    return "\n".join(map(printable, lines))


def _driver(identity: Identity, driver: Driver | None, able: Capabilities) -> str:
    about = [driver.name if driver and driver.name else able.kind or "no driver", identity.bus, identity.mac]
    about += [f"firmware {driver.firmware}"] if driver and driver.firmware not in ("", "N/A") else []
    state = _UNKNOWN if able.up is None else "up" if able.up else "down"
    return ", ".join([*filter(None, about), state, f"MTU {able.mtu}"])


def _sections(able: Capabilities, rates: Rates) -> Iterator[tuple[str, list[str]]]:
    if able.lower:
        yield "below it", [", ".join(able.lower) + ": they have the queues, rules and XDP"]
    yield "queues", [_queues(able.queues)]
    yield "rings", [_rings(able)]
    yield "RSS", _rss(able)
    yield "rules", _rules(able)
    yield "VFs", _vfs(able)
    yield "features", [_features(able)]
    yield "XDP", _xdp(able.xdp)
    yield "packets", _rates(rates, able)


def _queues(queues: Queues) -> str:
    pairs = "; changed as pairs" if queues.combined else ""
    return f"rx {queues.rx} of {_said(queues.rx_max)}, tx {queues.tx} of {_said(queues.tx_max)}{pairs}"


def _rings(able: Capabilities) -> str:
    rings = able.rings
    if rings.rx is None:
        return "none, or its driver does not say"
    return f"rx {rings.rx} of {_said(rings.rx_max)}, tx {rings.tx} of {_said(rings.tx_max)} descriptors"


def _rss(able: Capabilities) -> list[str]:
    rss = able.rss
    if not rss.table:
        return ["no table: " + ("none in this driver" if rss.table_size == 0 else _UNKNOWN)]
    shares = sorted(Counter(rss.table).items())
    spread = ", ".join(f"queue {queue}: {100 * count / len(rss.table):.3g} %" for queue, count in shares)
    lines = [f"{rss.function or 'hash function not known'}, {len(rss.table)} entries: {spread}"]
    lines.append(f"key {rss.key or _UNKNOWN}")
    if rss.fields:
        lines.append("fields " + ", ".join(f"{flow} {letters or '-'}" for flow, letters in rss.fields.items()))
    return lines


def _rules(able: Capabilities) -> list[str]:
    rules = able.ntuple
    if not rules.supported:
        return ["none in this driver" if rules.supported is False else _UNKNOWN]
    count = len(rules.rules or ())
    switch = {True: "on", False: "off: rules are refused" if rules.needs_feature else "off", None: _UNKNOWN}[rules.on]
    return [f"{count} of {_said(rules.slots)}; n-tuple {switch}", *(rules.rules or ())]


def _vfs(able: Capabilities) -> list[str]:
    if not able.vfs.total:
        return ["none"]
    return [f"{able.vfs.in_use} of {able.vfs.total}", *(f"costs: {cost}" for cost in able.vfs.costs or ())]


def _features(able: Capabilities) -> str:
    found = []
    for name, called in _FEATURES.items():
        feature = (able.features or {}).get(name)
        if feature is not None:
            found.append(f"{called} {'on' if feature.on else 'off'}{' (fixed)' if feature.fixed else ''}")
    return ", ".join(found) or _UNKNOWN


def _xdp(xdp: XdpSupport) -> list[str]:
    can = {"native": xdp.native, "redirect": xdp.redirect, "zero-copy": xdp.zero_copy, "fragments": xdp.fragments}
    lines = [", ".join(f"{name} {_yes(able)}" for name, able in can.items())]
    if xdp.metadata:
        lines.append(f"metadata {', '.join(xdp.metadata)}")
    if xdp.max_mtu:
        lines.append(f"MTU up to {xdp.max_mtu}")
    if xdp.resets_link:
        lines.append("attaching and detaching reset the link")
    lines += [f"needs: {need}" for need in xdp.needs or ()]
    return [*lines, f"program {xdp.program or 'none'}"]


def _rates(rates: Rates, able: Capabilities) -> list[str]:
    lines = [f"{rates.total:>12,.0f} a second received"]
    lines += [f"{rate:>12,.0f} on queue {queue}" for queue, rate in rates.queues.items()]
    if not rates.queues and (able.queues.rx or 1) > 1:
        lines.append("its driver does not count them by queue")
    return lines


def _said(number: int | None) -> str:
    return "?" if number is None else str(number)


def _yes(able: bool | None) -> str:
    return {True: "yes", False: "no", None: "?"}[able]
