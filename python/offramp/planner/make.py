# SPDX-License-Identifier: Apache-2.0
"""The decisions: where a match runs on this interface, in which mode, with how much memory. Or why it cannot.

In-driver layout: the XDP program on every queue, and for CLAIM a socket on every queue, because without NIC rules a
flow may arrive on any of them. Everything that is changed hangs on file descriptors, so every undo is a close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from offramp.errors import NotSupported, OptionError
from offramp.match import Node, text
from offramp.planner.obstacles import check_state, check_wire_view, frame_size
from offramp.planner.options import Options
from offramp.planner.plan import Plan, Step
from offramp.planner.protect import protection, protection_in_words
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.nic import Link
    from offramp.nic.ssh import Ssh

__all__ = ["lacks_for_native", "make_plan"]


def make_plan(
    match: Node, verdict: Verdict, link: Link, options: Options, ssh: Ssh | None, *, native_refused: bool = False
) -> Plan:
    """The plan, or an error that says what stands in its way. `native_refused`: the driver was asked and cannot.
    `ssh` None leaves nothing protected.

    Errors: InterfaceDown, InterfaceBusy, InterfaceError (MTU, offloads), NotSupported (`require`), OptionError.
    """
    claim = verdict is Verdict.CLAIM
    check_state(link, sockets=claim)
    mode = _mode(link, options, claim, native_refused)
    vlan_metadata = mode == "native" and "vlan-tag" in (link.rx_metadata or ())
    check_wire_view(link, mode, vlan_metadata=vlan_metadata)
    protect = protection(ssh) if ssh is not None else None
    queues = _queues(link, options) if claim else ()
    copying = ("zero-copy" if options.wants_zero_copy else options.copying) if claim else None
    return Plan(
        interface=link.name,
        ifindex=link.ifindex,
        match=text(match),
        verdict=verdict,
        mode=mode,
        copying=copying,
        queues=queues,
        all_queues=link.rx_queues,
        frames=options.frames,
        frame_size=frame_size(link, mode) if claim else 0,
        ring=options.ring,
        stall=options.stall if claim else None,
        protect=protect,
        protected=protection_in_words(ssh) if ssh is not None else "nothing",
        vlan_metadata=vlan_metadata,
        steps=tuple(_steps(link, verdict, mode, queues, copying, options)),
        warnings=tuple(_warnings(link, mode, vlan_metadata, queues, options)),
    )


def _mode(link: Link, options: Options, claim: bool, native_refused: bool) -> Literal["native", "generic"]:
    if options.mode == "generic":
        return "generic"
    missing = lacks_for_native(link, claim=claim)
    if not missing and not native_refused:
        return "native"
    what = f"{link.name} ({link.driver or link.kind or 'no driver'}) has no native XDP"
    if options.mode == "native" or "native" in options.require or options.wants_zero_copy:
        raise NotSupported(what, reason=f"its driver lacks {', '.join(missing)}" if missing else "its driver refused")
    return "generic"


def lacks_for_native(link: Link, *, claim: bool = True) -> list[str]:
    """What native XDP needs and the driver does not declare; nothing where this kernel does not tell."""
    needed = {"basic", "redirect"} if claim else {"basic"}
    return sorted(needed - link.xdp_features) if link.xdp_features is not None else []


def _queues(link: Link, options: Options) -> tuple[int, ...]:
    if options.queues is None:
        return tuple(range(link.rx_queues))
    wrong = [queue for queue in options.queues if queue >= link.rx_queues]
    if wrong:
        raise OptionError(f"queue {wrong[0]}", reason=f"{link.name} has queues 0 to {link.rx_queues - 1}")
    return tuple(sorted(set(options.queues)))


def _steps(
    link: Link, verdict: Verdict, mode: str, queues: tuple[int, ...], copying: str | None, options: Options
) -> list[Step]:
    where = "in the driver" if mode == "native" else "in the stack (generic mode)"
    program = Step(
        "xdp",
        f"attach a program to {link.name}, {where}: protected packets pass, matching ones {verdict.name}, others pass",
        "the earliest place where this interface can look at a packet",
        "close the bpf_link: the kernel does it by itself when the process ends",
    )
    if not queues:
        return [program]
    listed = f"queue{'s' if len(queues) > 1 else ''} {', '.join(map(str, queues))}"
    sockets = Step(
        "user",
        f"bind an AF_XDP socket to {listed} of {link.name}, {options.frames} frames each, {copying}",
        "without a NIC rule the flow may arrive on any queue; passing a packet on from a zero-copy queue costs a copy",
        "close the sockets",
    )
    entries = Step(
        "xdp",
        "put the sockets into the program's XSKMAP by rx_queue_index",
        "from here on matching packets come to user space; until here they pass",
        "close the map",
    )
    return [program, sockets, entries]


def _warnings(link: Link, mode: str, vlan_metadata: bool, queues: tuple[int, ...], options: Options) -> list[str]:
    warnings = []
    if mode == "generic":
        asked = options.mode == "generic"
        why = "as asked" if asked else f"as {link.driver or link.kind or link.name} has no native XDP"
        warnings.append(
            f"generic mode, {why}: packets are looked at after the kernel has allocated a buffer for each; "
            "expect about the speed of iptables in raw PREROUTING"
        )
    if link.kind == "veth" and not vlan_metadata:
        warnings.append(
            f"VLAN tags that {link.name}'s peer leaves beside its frames cannot be seen, and those frames are taken "
            "for untagged ones: ethtool -K PEER txvlan off writes them into the frames"
        )
    if not options.protect:
        warnings.append("nothing is protected: ARP, ND, DHCP and SSH are diverted too if they match")
    if queues and len(queues) < link.rx_queues:
        warnings.append(
            f"{link.name} has {link.rx_queues} receive queues: matching packets on the others stay with the kernel"
        )
    return warnings
