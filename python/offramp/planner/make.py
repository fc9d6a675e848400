# SPDX-License-Identifier: Apache-2.0
"""The decisions: where a match runs on this interface, in which mode, with how much memory. Or why it cannot.

In-driver layout: the XDP program on every queue, and for CLAIM a socket on every queue, because without NIC rules a
flow may arrive on any of them. Everything that is changed hangs on file descriptors, so every undo is a close.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from offramp.errors import InterfaceBusy, InterfaceDown, InterfaceError, NotSupported, OptionError
from offramp.match import Node, text
from offramp.planner.options import Options
from offramp.planner.plan import Plan, Step
from offramp.planner.protect import protection
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.nic import Link
    from offramp.nic.ssh import Ssh

__all__ = ["LARGEST_MTU", "make_plan", "mtu_refused"]

_ETHERNET = 14 + 2 * 4  # header and up to two VLAN tags, bytes
_HEADROOM = 256  # XDP_PACKET_HEADROOM: the kernel keeps it free in each frame
_FRAME_SIZES = (2048, 4096)  # a frame must not be larger than a page
LARGEST_MTU = _FRAME_SIZES[-1] - _HEADROOM - _ETHERNET

# Interfaces that get their packets from another one, when the stack has taken the VLAN tag out of the frame.
_UPPER = frozenset({"bond", "bridge", "ifb", "ipvlan", "ipvtap", "macvlan", "macvtap", "team", "vrf"})

# The largest MTU that a driver takes with native XDP. veth, which asks it of the peer's (veth_xdp_set): a page without
# headroom (256), struct skb_shared_info (320) and Ethernet header (14).
_NATIVE_MTU = {"veth": 4096 - 256 - 320 - 14}


def make_plan(
    match: Node, verdict: Verdict, link: Link, options: Options, ssh: Ssh | None, *, native_refused: bool = False
) -> Plan:
    """The plan, or an error that says what stands in its way. `native_refused`: the driver was asked and cannot.
    `ssh` None leaves nothing protected.

    Errors: InterfaceDown, InterfaceBusy, InterfaceError (MTU, offloads), NotSupported (`require`), OptionError.
    """
    if not link.up:
        raise InterfaceDown(f"{link.name} is down", hint=f"ip link set {link.name} up")
    if link.xdp is not None:
        raise _busy(link)
    claim = verdict is Verdict.CLAIM
    mode = _mode(link, options, claim, native_refused)
    if mode == "generic":
        _check_generic(link)
    vlan_metadata = mode == "native" and "vlan-tag" in (link.rx_metadata or ())
    if link.rx_vlan_offload and not vlan_metadata:
        raise InterfaceError(
            f"{link.name} strips VLAN tags before XDP sees them",
            reason="tagged packets would be taken for untagged ones",
            hint=f"ethtool -K {link.name} rxvlan off",
        )
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
        frame_size=_frame_size(link, mode) if claim else 0,
        ring=options.ring,
        stall=options.stall if claim else None,
        protect=protect,
        vlan_metadata=vlan_metadata,
        steps=tuple(_steps(link, verdict, mode, queues, copying, options)),
        warnings=tuple(_warnings(link, mode, vlan_metadata, queues, options)),
    )


def _busy(link: Link) -> InterfaceBusy:
    xdp = link.xdp
    assert xdp is not None
    name = f" {xdp.name!r}" if xdp.name else ""
    holder = "this process" if xdp.pid == os.getpid() else xdp.command or "a process"
    whose = f", held by {holder} (pid {xdp.pid})" if xdp.pid is not None else ""
    kind = "another offramp" if xdp.name.startswith("offramp") else "XDP"
    return InterfaceBusy(
        f"{link.name} already runs {kind}: program {xdp.program_id}{name} in {xdp.mode} mode{whose}",
        hint="offramp never replaces a program: close it, or end that process, first",
    )


def _mode(link: Link, options: Options, claim: bool, native_refused: bool) -> Literal["native", "generic"]:
    if options.mode == "generic":
        return "generic"
    needed = {"basic", "redirect"} if claim else {"basic"}
    missing = sorted(needed - link.xdp_features) if link.xdp_features is not None else []
    if not missing and not native_refused:
        return "native"
    what = f"{link.name} ({link.driver or link.kind or 'no driver'}) has no native XDP"
    if options.mode == "native" or "native" in options.require or options.wants_zero_copy:
        raise NotSupported(what, reason=f"its driver lacks {', '.join(missing)}" if missing else "its driver refused")
    return "generic"


def _check_generic(link: Link) -> None:
    """In generic mode XDP sees what the stack has made of a frame; a match is about the frames on the wire."""
    if link.kind in _UPPER:
        raise InterfaceError(
            f"{link.name}, a {link.kind}, in generic mode",
            reason="tags are taken off before it gets a packet: tagged packets would be taken for untagged ones",
            hint="use the interface below it",
        )
    merging = [name for name, on in (("gro", link.gro), ("lro", link.lro)) if on]
    if merging:
        raise InterfaceError(
            f"{link.name} in generic mode with {' and '.join(name.upper() for name in merging)} on",
            reason="XDP would see merged packets, not the frames on the wire",
            hint=f"ethtool -K {link.name} {' '.join(f'{name} off' for name in merging)}",
        )


def _queues(link: Link, options: Options) -> tuple[int, ...]:
    if options.queues is None:
        return tuple(range(link.rx_queues))
    wrong = [queue for queue in options.queues if queue >= link.rx_queues]
    if wrong:
        raise OptionError(f"queue {wrong[0]}", reason=f"{link.name} has queues 0 to {link.rx_queues - 1}")
    return tuple(sorted(set(options.queues)))


def _frame_size(link: Link, mode: str) -> int:
    for size in _FRAME_SIZES:
        if link.mtu + _ETHERNET <= size - _HEADROOM:
            return size
    native = _NATIVE_MTU.get(link.driver or "", LARGEST_MTU) if mode == "native" else LARGEST_MTU
    raise _mtu_error(link, min(native, LARGEST_MTU))


def mtu_refused(link: Link) -> InterfaceError:
    """The error for an interface whose driver refused native XDP with ERANGE."""
    return _mtu_error(link, _NATIVE_MTU.get(link.driver or ""))


def _mtu_error(link: Link, largest: int | None) -> InterfaceError:
    """`largest` None: only the driver knows it."""
    what = f"{link.name} has an MTU of {link.mtu}"
    if largest is None:
        return InterfaceError(what, reason="a packet has to fit one buffer of its driver", hint="lower the MTU")
    if link.mtu <= largest:
        what = f"{link.name}'s peer has too large an MTU"
    ends = " at both ends" if link.kind == "veth" else ""
    return InterfaceError(
        what,
        reason=f"with XDP a packet has to fit one buffer: at most {largest}{ends}",
        hint=f"ip link set {link.name} mtu {largest}",
    )


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
        warnings.append("protect=False: ARP, ND, DHCP and SSH are diverted too if they match")
    if queues and len(queues) < link.rx_queues:
        warnings.append(
            f"{link.name} has {link.rx_queues} receive queues: matching packets on the others stay with the kernel"
        )
    return warnings
