# SPDX-License-Identifier: Apache-2.0
"""The other end of a veth, or of loopback: what it is set to decides which frames arrive here, and whether XDP runs.

    here                          all of it
    in another network namespace  its MTU and whether it has XDP (IFLA_TARGET_NETNSID), with CAP_NET_ADMIN there

Source: drivers/net/veth.c; include/uapi/linux/if_link.h.
"""

from __future__ import annotations

import struct

from offramp.bpf.owner import attached_in
from offramp.errors import InterfaceGone, KernelError
from offramp.facts.link import Peer
from offramp.nic import ethtool
from offramp.nic.features import features
from offramp.syscalls import netlink

__all__ = ["below", "peer_of"]

_NAME, _MTU, _LINK, _INFO, _LINK_NETNSID = 3, 4, 5, 18, 37
_INFO_KIND = 1
_DEEPEST = 8  # interfaces on top of each other

# The kernel gives a device segments as one frame if the device has the feature of their protocol (net_gso_ok).
_SEGMENTATION = {
    "tx-tcp-segmentation": "tso",
    "tx-tcp6-segmentation": "tso",
    "tx-tcp-ecn-segmentation": "tso",
    "tx-tcp-mangleid-segmentation": "tso",
    "tx-udp-segmentation": "tx-udp-segmentation",
}

_TAG_INSERTION = ("tx-vlan-hw-insert", "tx-vlan-stag-hw-insert")


def peer_of(ifindex: int, found: netlink.Attributes) -> Peer:
    """The peer of a veth with these attributes, as far as it can be seen. Loopback is its own peer."""
    peer = netlink.unsigned(found.get(_LINK)) or ifindex
    try:
        if _LINK_NETNSID in found:
            return _elsewhere(peer, struct.unpack("i", found[_LINK_NETNSID])[0])
        return _here(peer)
    except (KernelError, InterfaceGone):  # it is gone, or this process may not look there
        return Peer()


def below(ifindex: int, found: netlink.Attributes) -> tuple[tuple[str, ...], Peer | None]:
    """What an interface that is on another one gets its packets through: the interfaces below it that merge packets,
    and, if the lowest is a veth, its peer.
    """
    merging = []
    for _ in range(_DEEPEST):
        lower = netlink.unsigned(found.get(_LINK))
        if not lower or lower == ifindex or _LINK_NETNSID in found:
            break
        try:
            ifindex, _, found = netlink.link(lower)
        except KernelError:  # it was removed just now
            break
        name = netlink.text(found.get(_NAME)) or ""
        if ethtool.gro(name) or ethtool.lro(name):
            merging.append(name)
        if netlink.text(netlink.attributes(found.get(_INFO, b"")).get(_INFO_KIND)) == "veth":
            return tuple(merging), peer_of(ifindex, found)
    return tuple(merging), None


def _here(ifindex: int) -> Peer:
    _, _, found = netlink.link(ifindex)
    name = netlink.text(found.get(_NAME)) or ""
    states = features(name)
    on = (flag for feature, flag in _SEGMENTATION.items() if feature in states and states[feature].on)
    channels = ethtool.channels(name)
    return Peer(
        name=name,
        mtu=netlink.unsigned(found.get(_MTU)),
        tx_queues=channels.combined + channels.tx if channels else None,
        xdp=_has_native(found),
        segmentation=tuple(dict.fromkeys(on)),
        tags_beside=any(feature in states and states[feature].on for feature in _TAG_INSERTION),
    )


def _elsewhere(ifindex: int, namespace: int) -> Peer:
    _, _, _, found = netlink.typed_link(ifindex, namespace=namespace)
    return Peer(mtu=netlink.unsigned(found.get(_MTU)), xdp=_has_native(found))


def _has_native(found: netlink.Attributes) -> bool:
    return any(program.mode == "native" for program in attached_in(found))
