# SPDX-License-Identifier: Apache-2.0
"""The steps of a plan, in the order in which they are taken. They are undone in reverse.

hidden queue    features, program, RSS table, socket, rules or RSS entries, watch where the flow arrives, XSKMAP
VF              features, VF, its address, rules, its driver; then, on its interface, the steps of in-driver
in-driver       features, program, sockets, XSKMAP
"""

from __future__ import annotations

from typing import Literal

from offramp.facts.capabilities import NTUPLE, Capabilities
from offramp.facts.link import Link
from offramp.facts.offloads import GRO, LRO, VLAN_STRIPPING, Offload
from offramp.immutable import immutable
from offramp.options import Copying
from offramp.planner.layout import Layout
from offramp.planner.plan import Change, Step
from offramp.planner.situation import Situation

__all__ = ["Decisions", "steps"]

_RESET = "the driver resets; the carrier may be gone for a moment, up to some seconds"
_RINGS = "some drivers reset their rings, and lose the packets in them"

_WHY_OFF = {
    GRO: "in generic mode XDP would see merged packets, not the frames on the wire",
    LRO: "XDP would see merged packets, not the frames on the wire",
    VLAN_STRIPPING: "tagged packets would look untagged",
}


@immutable
class Decisions:
    """What was decided about a situation, before it is turned into steps."""

    layout: Layout
    mode: Literal["native", "generic"]
    queues: tuple[int, ...]  # queues with a socket
    copying: Copying | None  # None: no socket
    off: tuple[Offload, ...]  # that are to be switched off


def steps(situation: Situation, decided: Decisions) -> list[Step]:
    link, able, layout = situation.link, situation.nic, decided.layout
    made = [_off(offload, link) for offload in decided.off]
    if able is not None and layout.rules and able.ntuple.needs_feature is not False and not able.ntuple.on:
        made.append(_ntuple_on(link))
    if layout.name == "vf":
        return [*made, *_vf(link, able, layout)]
    made.append(_program(situation, decided))
    if not decided.queues:
        return made
    if layout.name == "hidden-queue":
        assert able is not None
        made.append(_leave_out(link, able, layout))
    made.append(_sockets(situation, decided))
    if layout.rules:
        made.append(_rules(link, layout))
    if layout.buckets:
        made.append(_buckets(link, layout))
    if layout.queue is not None and situation.options.observe:
        made.append(_observation(situation, layout))
    return [*made, _entries(layout, decided.queues)]


def _off(offload: Offload, link: Link) -> Step:
    what, why = f"switch {offload.words} of {link.name} off", _WHY_OFF[offload]
    return Step("change", "nic", what, why, "switch it on", _RINGS, (Change(offload.knob, False),))


def _ntuple_on(link: Link) -> Step:
    return Step(
        "change",
        "nic",
        f"switch n-tuple rules of {link.name} on",
        "its driver accepts rules only while they are on",
        "switch them off",
        _RINGS,
        (Change(f"feature.{NTUPLE}", True),),
        "rules",
    )


def _program(situation: Situation, decided: Decisions) -> Step:
    able, queue, native = situation.nic, decided.layout.queue, decided.mode == "native"
    where = "in the driver" if native else "in the stack (generic mode)"
    passing = f"protected packets pass, the verdict of matching ones is {situation.verdict.name}, all others pass"
    if queue is not None:
        passing = f"on queue {queue} {passing}; on other queues all packets pass, and matching ones are counted"
    resets = able is not None and able.xdp.resets_link and native
    return Step(
        "attach",
        "xdp",
        f"attach a program to {situation.link.name}, {where}: {passing}",
        "the earliest place where this interface can look at a packet",
        "close the bpf_link; the kernel does so when the process ends",
        _RESET if resets else "",
    )


def _leave_out(link: Link, able: Capabilities, layout: Layout) -> Step:
    before = able.rss.table or ()
    moved = sum(one != two for one, two in zip(before, layout.base, strict=True))
    return Step(
        "change",
        "nic",
        f"leave queue {layout.queue} out of the RSS table of {link.name}: {moved} of {len(before)} entries move",
        "so that only what the NIC is told to bring arrives there; the entries of other queues stay as they are",
        "write the old table back",
        "packets of a flow may overtake each other if its entry moves" if moved else "",
        (Change("rss.table", list(layout.base)),),
        "table",
    )


def _sockets(situation: Situation, decided: Decisions) -> Step:
    queues = decided.queues
    listed = f"queue{'s' if len(queues) > 1 else ''} {', '.join(map(str, queues))}"
    why = "without a NIC rule the flow may arrive on any queue; a packet passed on from a zero-copy queue costs a copy"
    if decided.layout.queue is not None:
        why = "the flow arrives only there"
    copying = "zero-copy if its driver supports it" if decided.copying == "auto" else decided.copying or ""
    frames = f"{situation.options.frames} frames each"
    return Step(
        "bind",
        "user",
        f"bind an AF_XDP socket to {listed} of {situation.link.name}, {frames}, {copying}",
        why,
        "close the sockets",
    )


def _observation(situation: Situation, layout: Layout) -> Step:
    asked = ", and make a peer send one" if situation.options.probe else ""
    return Step(
        "observe",
        "user",
        f"watch where matching packets arrive{asked}, for at most {situation.options.observe:g} s",
        f"drivers accept rules that do nothing: if matching packets arrive, but none on queue {layout.queue}, "
        "another layout is tried",
        "nothing",
    )


def _entries(layout: Layout, queues: tuple[int, ...]) -> Step:
    why = "from this step on matching packets come to user space; before it they pass"
    if layout.queue is not None:
        why = f"from this step on matching packets on queue {queues[0]} come to user space; before it they pass"
    what = f"put the socket{'s' if layout.queue is None else ''} into the program's XSKMAP by rx_queue_index"
    return Step("connect", "xdp", what, why, "close the map")


def _rules(link: Link, layout: Layout) -> Step:
    count = len(layout.rules)
    where = f"queue {layout.queue}" if layout.vf is None else f"VF {layout.vf}"
    return Step(
        "change",
        "nic",
        f"add {count} n-tuple rule{'s' if count > 1 else ''} to {link.name}, at free locations, to {where}",
        "the NIC brings what may match; the program checks each packet, and passes the rest",
        "remove them",
        "for a moment packets of the flow arrive on two queues, and may overtake each other",
        tuple(Change(f"rule.{rule.location}", rule.normal().to_value()) for rule in layout.rules),
        "rules",
    )


def _buckets(link: Link, layout: Layout) -> Step:
    assert layout.queue is not None
    table = [layout.queue if entry in layout.buckets else queue for entry, queue in enumerate(layout.base)]
    count, size = len(layout.buckets), len(table)
    return Step(
        "change",
        "nic",
        f"point {'entry' if count == 1 else 'entries'} {', '.join(map(str, layout.buckets))} of the RSS table of "
        f"{link.name} at queue {layout.queue}",
        "the hash of the flow is known, and selects this entry",
        "write the old table back",
        f"flows in {count} of {size} entries move, and their packets may overtake each other",
        (Change("rss.table", table),),
        "buckets",
    )


def _vf(link: Link, able: Capabilities | None, layout: Layout) -> list[Step]:
    made = [] if able and able.vfs.in_use else [_make_vf(link, able)]
    made += [_unbind_vf(link, layout)] if layout.vf_bound else []
    made.append(_address_vf(link, layout))
    made += [_rules(link, layout)] if layout.rules else []
    return [*made, _open_vf(layout)]


def _make_vf(link: Link, able: Capabilities | None) -> Step:
    costs = "; ".join(able.vfs.costs or ()) if able else ""
    return Step(
        "change",
        "nic",
        f"make a virtual function of {link.name}",
        "it has queues of its own on the same wire",
        "remove it",
        f"the driver may reset{': ' if costs else ''}{costs}",
        (Change("vf.autoprobe", False), Change("vf.count", 1)),  # its driver has to see its address
    )


def _unbind_vf(link: Link, layout: Layout) -> Step:
    return Step(
        "change",
        "nic",
        f"take VF {layout.vf} of {link.name} from its driver, {layout.vf_bound}",
        "a driver reads a new address only when it starts",
        "give it back; its interface is then as the driver makes it",
        changes=(Change(f"vf.{layout.vf}.driver", None),),
    )


def _address_vf(link: Link, layout: Layout) -> Step:
    changes, why = [Change(f"vf.{layout.vf}.mac", layout.mac)], "packets to this address arrive there"
    if layout.rules:
        changes.append(Change(f"vf.{layout.vf}.spoof_check", False))
        why = "it needs an address of its own"
        why += f"; packets sent back have the address of {link.name}, and a spoof check would drop them"
    what = f"give VF {layout.vf} of {link.name} the address {layout.mac}"
    return Step("change", "nic", what, why, "write the old settings back", changes=tuple(changes))


def _open_vf(layout: Layout) -> Step:
    return Step(
        "open-vf",
        "nic",
        f"give VF {layout.vf} its driver, {layout.vf_driver}, and open its interface, which has its own plan",
        "what is possible depends on its driver; from this step on matching packets come to user space",
        "close it, and remove the driver",
        changes=(Change(f"vf.{layout.vf}.driver", layout.vf_driver),),
    )
