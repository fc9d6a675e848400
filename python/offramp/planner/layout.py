# SPDX-License-Identifier: Apache-2.0
"""How claimed packets get to our sockets: by a hidden queue, by a VF, or by the driver on every queue.

    hidden queue    RSS leaves a queue out; n-tuple rules bring the flows there, else entries of the RSS table do where
                    the match fixes all that is hashed. The other queues, and their cores, stay the kernel's.
    VF              a virtual function of its own, read on its own interface. Only if asked for: VFs cost, see records.
    in-driver       the program and a socket on every queue: works everywhere.

Left to itself the planner takes a hidden queue if what it needs is known of the NIC, else in-driver, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from offramp.errors import InterfaceBusy, InterfaceDown, NotSupported, OptionError
from offramp.facts.capabilities import Capabilities, Vf
from offramp.match import Everything, Node
from offramp.planner.bucket import buckets
from offramp.planner.flow import Flow
from offramp.planner.options import Options
from offramp.planner.plan import LayoutName, Method
from offramp.planner.steer import Steered, steered
from offramp.planner.typed import CannotSteer
from offramp.planner.widen import Widened, widened
from offramp.steering import Rule, cookie, hiding, parse_rule

if TYPE_CHECKING:
    from offramp.facts.link import Link

__all__ = ["ALONE", "METHODS", "NTUPLE", "Beside", "Layout", "choose", "is_virtual"]

NTUPLE: Final = "rx-ntuple-filter"


@dataclass(frozen=True, slots=True)
class Beside:
    """The other ramps of this process on the interface."""

    queues: frozenset[int] = frozenset()  # that they read
    base: tuple[int, ...] = ()  # the RSS table as it was before the first of them; (): as it is
    hidden: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # their hidden queues: entries that lead there
    mode: Literal["native", "generic"] | None = None  # of the program that they share


ALONE: Final = Beside()


@dataclass(frozen=True, slots=True)
class Layout:
    name: LayoutName
    why: str
    queue: int | None = None
    vf: int | None = None
    mac: str | None = None  # of the VF
    vf_driver: str = ""  # to be bound to
    vf_bound: str = ""  # that it is bound to now
    base: tuple[int, ...] = ()  # the RSS table without the hidden queue
    rules: tuple[Rule, ...] = ()
    buckets: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()
    first: tuple[str, ...] = ()  # rules of others that see packets first
    arp: bool = False  # the match is about ARP, which the NIC does not bring
    flows: tuple[Flow, ...] = ()  # what the NIC has to bring, at least


def is_virtual(able: Capabilities) -> bool:
    return able.kind is not None or able.bus == ""


def choose(
    match: Node,
    link: Link,
    able: Capabilities | None,
    options: Options,
    mode: str,
    claim: bool,
    refused: Mapping[Method, str] = {},
    beside: Beside = ALONE,
) -> Layout:
    """`refused`: what was tried here, and what became of it, as in "had no effect".

    Errors: NotSupported and OptionError if a layout was asked for that cannot be.
    """
    wanted = options.wanted_layout
    if not claim:
        if wanted in ("hidden-queue", "vf"):
            raise OptionError(f"layout {wanted} without sockets", reason="packets end in the driver")
        return Layout("in-driver", "packets end in the driver, on the queue where they arrive")
    if wanted == "in-driver":
        return Layout("in-driver", "as asked")
    if options.queues is not None:
        return Layout("in-driver", "the queues to listen on were named")
    try:
        if able is None or is_virtual(able):
            known = able is not None or link.kind is not None
            what = "a virtual interface has no NIC" if known else "what its NIC can do is not known"
            raise CannotSteer(what)
        if wanted == "vf":
            return _vf(match, link, able, options, refused, beside)
        if mode == "generic" and wanted == "auto":
            raise CannotSteer("in generic mode the packets are in the kernel already")
        return _hidden(match, link, able, options, refused, beside)
    except CannotSteer as cannot:
        if wanted != "auto":
            what = "a VF" if wanted == "vf" else "a hidden queue"
            raise NotSupported(f"{what} on {link.name}", reason=cannot.reason, hint=cannot.hint) from None
        hint = f" ({cannot.hint})" if cannot.hint else ""
        return Layout("in-driver", f"no hidden queue: {cannot.reason}{hint}")


def _hidden(
    match: Node, link: Link, able: Capabilities, options: Options, refused: Mapping[Method, str], beside: Beside
) -> Layout:
    queue = _last_free(link, able, beside) if options.queue is None else options.queue
    if queue >= link.rx_queues:
        raise OptionError(f"queue {queue}", reason=f"{link.name} has queues 0 to {link.rx_queues - 1}")
    driver = able.driver or link.name
    wide = _flows(match)
    assert wide.flows is not None
    base = _table_without(queue, link, able, beside)
    _check_refused("table", refused)
    reasons: list[CannotSteer] = []
    for method in ("rules", "buckets"):
        try:
            _check_refused(method, refused)
            if method == "rules":
                _check_rules(able, sure=options.wanted_layout == "auto")
                made = steered(wide.flows, able.ntuple, cookie(queue), driver)
                return _with_rules(Layout("hidden-queue", "", queue, base=base), made, wide)
            if able.rss.symmetric is None and options.wanted_layout == "auto":
                raise CannotSteer("whether its RSS hash is Microsoft's Toeplitz is not known")
            found = buckets(wide.flows, replace(able.rss, table=base), driver)
            if any(base[entry] in beside.hidden for entry in found):
                raise CannotSteer("its entry of the RSS table leads to another ramp's queue")
            why = f"no n-tuple rules, but the match fixes all that RSS hashes ({reasons[0].reason})"
            layout = Layout("hidden-queue", why, queue, base=base, buckets=found)
            return replace(layout, left_out=wide.left_out, arp=wide.arp, flows=wide.flows)
        except CannotSteer as cannot:
            reasons.append(cannot)
    hint = next((each.hint for each in reasons if each.hint), "")
    raise CannotSteer("; ".join(each.reason for each in reasons), hint)


METHODS: Final[Mapping[Method, str]] = {
    "table": "entries of the RSS table that leave a queue out",
    "rules": "n-tuple rules",
    "buckets": "entries of the RSS table that lead to a hidden queue",
}


def _check_refused(method: Method, refused: Mapping[Method, str]) -> None:
    """Errors: CannotSteer if it was tried."""
    if method in refused:
        raise CannotSteer(f"{METHODS[method]} {refused[method]}")


def _with_rules(layout: Layout, made: Steered, wide: Widened) -> Layout:
    count = len(made.rules)
    why = f"{count} n-tuple rule{'s bring' if count > 1 else ' brings'} the match's flows to a queue of their own"
    left_out = tuple(dict.fromkeys((*wide.left_out, *made.left_out)))
    return replace(
        layout, why=why, rules=made.rules, left_out=left_out, first=made.first, arp=wide.arp, flows=wide.flows or ()
    )


def _flows(match: Node) -> Widened:
    wide = widened(match)
    if isinstance(match, Everything):
        raise CannotSteer("every packet matches")
    if wide.flows is None:
        raise CannotSteer("the match names no flows that a NIC could tell from others")
    if not wide.flows:
        raise CannotSteer("no packet can match")
    return wide


def _last_free(link: Link, able: Capabilities, beside: Beside) -> int:
    """The last queue to which nobody's rule leads, and that nobody here reads; one of RSS tables, if there is any."""
    taken = {rule.queue for rule in map(parse_rule, able.ntuple.rules or ()) if rule.vf is None} | beside.queues
    free = [queue for queue in range(link.rx_queues) if queue not in taken]
    if not free:
        raise CannotSteer("each of its queues is read by another ramp, or rules lead there")
    limit = able.rss.queue_limit or link.rx_queues
    return max(free, key=lambda queue: (queue < limit, queue))


def _table_without(queue: int, link: Link, able: Capabilities, beside: Beside) -> tuple[int, ...]:
    """The RSS table with the entries that name the queue dealt out to the others."""
    if link.rx_queues < 2:
        more = (able.queues.rx_max or 1) > 1
        hint = f"ethtool -L {link.name} {'combined' if able.queues.combined else 'rx'} 2" if more else ""
        raise CannotSteer("it has one receive queue", hint)
    if not able.rss.table:
        raise CannotSteer("it shows no RSS table that could leave a queue out")
    if able.rss.table_with_vfs is False and able.vfs.in_use:
        raise CannotSteer("its RSS table cannot be changed while there are VFs")
    try:
        return tuple(hiding(beside.base or able.rss.table, {**beside.hidden, queue: ()}))
    except OptionError:
        raise CannotSteer(f"its RSS table names queue {queue} only") from None


def _check_rules(able: Capabilities, *, sure: bool) -> None:
    """Errors: CannotSteer if the NIC takes no n-tuple rules or, where one has to be `sure`, if that is not known."""
    if able.ntuple.supported is False:
        raise CannotSteer("its driver takes no n-tuple rules")
    if able.ntuple.supported is None and sure:
        raise CannotSteer("whether it takes n-tuple rules is not known")
    switch = (able.features or {}).get(NTUPLE)
    if able.ntuple.needs_feature and able.ntuple.on is False and switch and switch.fixed:
        raise CannotSteer("its n-tuple rules are switched off, which cannot be changed")


def _vf(
    match: Node, link: Link, able: Capabilities, options: Options, refused: Mapping[Method, str], beside: Beside
) -> Layout:
    """Errors: CannotSteer, OptionError, InterfaceBusy, InterfaceDown."""
    if able.vfs.total == 0:
        raise CannotSteer("it has no virtual functions")
    if not link.carrier:
        raise InterfaceDown(f"{link.name} has no carrier", reason="nothing would arrive at a VF of it either")
    number, now = _which_vf(link, able, options, beside)
    driver = able.vfs.driver or now.driver
    if not driver:
        raise CannotSteer("which driver its VFs have is not known")
    layout = _to_vf(match, link, able, number, refused)
    return replace(layout, vf_driver=driver, vf_bound=now.driver or "")


def _which_vf(link: Link, able: Capabilities, options: Options, beside: Beside) -> tuple[int, Vf]:
    """Its number, and what it is now. Errors: InterfaceBusy, OptionError."""
    in_use = able.vfs.in_use or 0
    if options.vf is None and beside.queues:
        raise InterfaceBusy(
            f"{link.name} is read by another ramp of this process",
            reason="making a VF resets its queues",
            hint="make the VFs first, or open the VF first",
        )
    if options.vf is None and in_use:
        raise InterfaceBusy(
            f"{link.name} has {in_use} virtual functions",
            reason="another number would take them all away for a moment",
            hint=f"vf=0 to {in_use - 1} for one that nobody uses",
        )
    if options.vf is not None and options.vf >= in_use:
        has = f"VFs 0 to {in_use - 1}" if in_use else "no VFs yet: leave the number out"
        raise OptionError(f"vf {options.vf}", reason=f"{link.name} has {has}")
    number = options.vf or 0
    now = able.vfs.now[number] if options.vf is not None and able.vfs.now is not None else Vf()
    if now.driver and not now.interface:
        raise InterfaceBusy(
            f"VF {number} of {link.name}",
            reason=f"bound to {now.driver}, and without an interface in this network namespace",
            hint="somebody uses it elsewhere; else: offramp nic PCI-ADDRESS bind none",
        )
    if now.up:
        raise InterfaceBusy(
            f"VF {number} of {link.name}",
            reason=f"in use: its interface {now.interface} is up",
            hint=f"if nobody needs it: ip link set {now.interface} down",
        )
    return number, now


def _to_vf(match: Node, link: Link, able: Capabilities, number: int, refused: Mapping[Method, str]) -> Layout:
    """How the flow gets there. Errors: CannotSteer."""
    wide = _flows(match)
    assert wide.flows is not None
    if any(flow.vlan is not None for flow in wide.flows):
        raise CannotSteer("the match names a VLAN, and a VF gets no tagged packets")
    try:
        _check_refused("rules", refused)
        if not able.ntuple.to_vf:
            raise CannotSteer("its rules lead to queues of its own only")
        _check_rules(able, sure=False)
        made = steered(wide.flows, able.ntuple, cookie(0, number), able.driver or link.name)
        return replace(
            _with_rules(Layout("vf", ""), made, wide), vf=number, mac=_mac_of(link.mac, number), why="as asked"
        )
    except CannotSteer as cannot:
        stations = {flow.edst for flow in wide.flows}
        only = stations.pop() if len(stations) == 1 else None
        mac = only.value.to_bytes(6).hex(":") if only and only.mask == (1 << 48) - 1 else _mac_of(link.mac, number)
        if int(mac[:2], 16) & 1:
            raise CannotSteer(f"{cannot.reason}; and {mac}, a group's address, can be no VF's") from None
        if mac == link.mac:
            raise CannotSteer(f"{cannot.reason}; and {mac} is the address of {link.name} itself") from None
        why = f"as asked; by destination address, as there are no rules: {cannot.reason}"
        return Layout("vf", why, vf=number, mac=mac, left_out=wide.left_out, arp=wide.arp)


def _mac_of(mac: str, number: int) -> str:
    """A locally administered address (IEEE 802) that depends on the interface's only. The ports of a NIC mostly differ
    in the last octets: VFs do in the second one.
    """
    octets = bytearray.fromhex(mac.replace(":", "")) if mac else bytearray(6)
    octets[0] = 0x06 if octets[0] != 0x06 else 0x0A
    octets[1] = (octets[1] + number) & 0xFF
    return octets.hex(":")
