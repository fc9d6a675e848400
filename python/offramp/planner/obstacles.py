# SPDX-License-Identifier: Apache-2.0
"""What stands in the way of a plan, each with its remedy. What offramp can switch off on a NIC, the plan switches off.

type                   its frames have no Ethernet header
down, busy             the interface cannot be used now
merged, untagged       XDP would not see the frames that were on the wire
MTU                    a packet would not fit a buffer
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from offramp.errors import InterfaceBusy, InterfaceDown, InterfaceError
from offramp.facts.link import NOT_REPLACED, Link
from offramp.facts.link_types import has_ethernet_header, type_name
from offramp.facts.offloads import GRO, LRO, VLAN_STRIPPING, Offload
from offramp.planner.plan import HEADROOM

__all__ = [
    "COPIED",
    "ETHERNET",
    "check_mtu",
    "check_state",
    "check_type",
    "check_wire_view",
    "frame_size",
    "largest_mtu",
    "mtu_refused",
    "native_mtu",
    "offloads_in_the_way",
    "too_large_for_native",
]

COPIED = "if zero-copy is not asked for, the kernel copies packets"  # a hint

ETHERNET: Final = 14 + 2 * 4  # header and up to two VLAN tags, bytes
_FRAME_SIZES = (2048, 4096)  # a frame must not be larger than a page
_LARGEST_MTU = _FRAME_SIZES[-1] - HEADROOM - ETHERNET

# Links without Ethernet headers, by kind: links that do the same with them.
_WITH_HEADERS = {
    "tun": "a TAP interface has them: ip tuntap add NAME mode tap",
    "gre": "a gretap interface has them: ip link add NAME type gretap ...",
    "ip6gre": "an ip6gretap interface has them: ip link add NAME type ip6gretap ...",
    "vxlan": "a vxlan interface without gpe has them",
    "geneve": "a geneve interface without innerprotoinherit has them",
}

# The packets of these interfaces carry the receive queue of one of their ports. A socket on them gets none, uncounted.
_FORWARDING = frozenset({"bond", "team"})

# Interfaces that get their packets from another one, after the stack has taken the VLAN tag out of the frame.
_UPPER = frozenset({"bond", "bridge", "ifb", "ipvlan", "ipvtap", "macvlan", "macvtap", "team", "vrf"})

# The largest MTU that a driver takes with native XDP. veth checks its peer's MTU (veth_xdp_set): a page without
# headroom (256), struct skb_shared_info (320) and Ethernet header (14).
_NATIVE_MTU = {"veth": 4096 - 256 - 320 - 14}


def check_state(link: Link, *, sockets: bool) -> None:
    """Errors: InterfaceDown, InterfaceBusy, InterfaceError (its type; sockets on a bond)."""
    check_type(link)
    if not link.up:
        raise InterfaceDown(f"{link.name} is down", hint=f"ip link set {link.name} up")
    if sockets and link.kind in _FORWARDING:
        raise InterfaceError(
            f"{link.name} is a {link.kind}",
            reason="AF_XDP sockets on it receive nothing",
            hint="open each of its ports instead",
        )
    if link.xdp is not None:
        raise InterfaceBusy(f"{link.name} already runs {link.xdp}", hint=NOT_REPLACED)


def check_type(link: Link) -> None:
    """Errors: InterfaceError if its frames have no Ethernet header, where a match would read other bytes."""
    if not has_ethernet_header(link.type):
        raise InterfaceError(
            f"{link.name} is a link of type {type_name(link.type)}{f' ({link.kind})' if link.kind else ''}",
            reason="its packets have no Ethernet header, so a match would read the wrong bytes of them",
            hint=_WITH_HEADERS.get(link.kind or "", "use the Ethernet interface that its packets come in on"),
        )


def offloads_in_the_way(link: Link, mode: str, *, vlan_metadata: bool) -> tuple[Offload, ...]:
    """Those that are on and hide the frames that were on the wire."""
    found = {
        GRO: link.gro and mode == "generic",
        LRO: link.lro,
        VLAN_STRIPPING: link.rx_vlan_offload and not vlan_metadata,
    }
    return tuple(offload for offload, hides in found.items() if hides)


def check_wire_view(link: Link, mode: str, hidden_by: Collection[Offload]) -> None:
    """A match is about the frames on the wire, so XDP has to see them as they were. Errors: InterfaceError."""
    if mode == "generic" and link.kind in _UPPER:
        raise InterfaceError(
            f"{link.name}, a {link.kind}, in generic mode",
            reason="VLAN tags are removed before it gets a packet, so tagged packets would look untagged",
            hint="use the interface below it",
        )
    if mode == "generic" and link.merging_below:
        lower = link.merging_below[0]
        raise InterfaceError(
            f"{link.name} in generic mode on {lower} with GRO on",
            reason="XDP would see merged packets, not the frames on the wire",
            hint=f"ethtool -K {lower} gro off lro off",
        )
    merging = [offload for offload in (GRO, LRO) if offload in hidden_by]
    if merging:
        raise InterfaceError(
            f"{link.name} in {mode} mode with {' and '.join(offload.words for offload in merging)} on",
            reason="XDP would see merged packets, not the frames on the wire",
            hint=f"ethtool -K {link.name} {' '.join(f'{offload.flag} off' for offload in merging)}",
        )
    if VLAN_STRIPPING in hidden_by:
        raise InterfaceError(
            f"{link.name} strips VLAN tags before XDP sees them",
            reason="tagged packets would look untagged",
            hint=f"ethtool -K {link.name} {VLAN_STRIPPING.flag} off",
        )


def too_large_for_native(link: Link, known: int | None) -> bool:
    """Whether frames may arrive that the driver does not take with XDP. veth goes by the MTU of its peer.

    `known`: the largest MTU that its driver takes; None: not known.
    """
    largest = native_mtu(link, known)
    decisive = link.peer.mtu if link.peer is not None and link.peer.mtu is not None else link.mtu
    return largest is not None and decisive > largest


def check_mtu(link: Link, known: int | None, *, sockets: bool) -> None:
    """Errors: InterfaceError, if the MTU is too large for native mode."""
    largest = native_mtu(link, known)
    if largest is not None and too_large_for_native(link, known):
        raise _mtu_error(link, min(largest, _LARGEST_MTU), generic_too=_generic_works(link, sockets=sockets))


def largest_mtu(link: Link, mode: str) -> int:
    """For sockets on `link`: a packet with two tags has to fit a frame and, in native mode, the driver's limit."""
    driver = native_mtu(link, None) if mode == "native" else None
    return min(driver or _LARGEST_MTU, _LARGEST_MTU)


def frame_size(link: Link, mode: str) -> int:
    """The smallest frame that fits. Errors: InterfaceError, naming the largest MTU that would do."""
    for size in _FRAME_SIZES:
        if link.mtu + ETHERNET <= size - HEADROOM:
            return size
    raise _mtu_error(link, largest_mtu(link, mode), generic_too=False)


def mtu_refused(link: Link, *, sockets: bool = True) -> InterfaceError:
    """The error for an interface whose driver refused native XDP with ERANGE."""
    return _mtu_error(link, native_mtu(link, None), generic_too=_generic_works(link, sockets=sockets))


def _generic_works(link: Link, *, sockets: bool) -> bool:
    return not sockets or link.mtu <= _LARGEST_MTU


def native_mtu(link: Link, known: int | None) -> int | None:
    """The largest MTU that its driver takes with native XDP."""
    return _NATIVE_MTU.get(link.driver or "", known)


def _mtu_error(link: Link, largest: int | None, *, generic_too: bool) -> InterfaceError:
    """`largest` is None if only the driver knows it."""
    what = f"{link.name} has an MTU of {link.mtu}"
    other = ', or mode="generic"' if generic_too else ""
    if largest is None:
        reason = "a packet has to fit one buffer of its driver"
        return InterfaceError(what, reason=reason, hint=f"lower the MTU{other}")
    reason = f"with XDP a packet has to fit one buffer: at most {largest}"
    if link.kind == "veth":
        reason += " at both ends"
    name = link.name
    if link.mtu <= largest:  # so the limit is at the other end, perhaps in another network namespace
        what = f"{link.name}'s peer has too large an MTU"
        name = (link.peer and link.peer.name) or "PEER"
    return InterfaceError(what, reason=reason, hint=f"ip link set {name} mtu {largest}{other}")
