# SPDX-License-Identifier: Apache-2.0
"""One interface in one record, read at one moment.

    RTM_GETLINK   name, index, type, MTU, state, address, kind, attached XDP program
    SIOCETHTOOL   driver, queues in use, offloads, ring sizes                    (ethtool.py)
    netdev        what the driver can do with XDP; queues, if it has no ethtool  (netdev.py)
    both          the other end of a veth                                        (peer.py)
    /proc/sys     IPv6 on an interface of our own
    bpf, /proc    who owns the attached XDP program, if there is one        (bpf/owner.py)

Source: rtnetlink(7), include/uapi/linux/if_link.h.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

from offramp.arguments import short
from offramp.bpf.owner import attached_in, owner
from offramp.errors import InterfaceGone, KernelError, NoSuchInterface
from offramp.facts.link import Link, Peer, Xdp
from offramp.facts.link_types import LOOPBACK
from offramp.immutable import immutable
from offramp.nic import ethtool
from offramp.nic.device import interfaces
from offramp.nic.mark import PREFIX, steadily
from offramp.nic.netdev import queues, xdp_features
from offramp.nic.peer import below, peer_of
from offramp.syscalls import netlink
from offramp.syscalls.failure import trying

__all__ = [
    "Counters",
    "carrier",
    "carrier_losses",
    "counters",
    "is_up",
    "move",
    "read",
    "silence",
]

# IFLA_*
_ADDRESS, _NAME, _MTU, _OPERSTATE, _INFO, _STATS64 = 1, 3, 4, 16, 18, 23
_TX_QUEUES, _RX_QUEUES, _CARRIER, _CARRIER_DOWN_COUNT, _MIN_MTU, _MAX_MTU = 31, 32, 33, 48, 50, 51
_INFO_KIND, _INFO_DATA, _TUN_VNET_HDR = 1, 2, 5
_IFF_UP, _IFF_NOARP = 1 << 0, 1 << 7
_NET_NS_FD = 28
_NAMES_TRIED = 256
_NAMES_SHOWN = 10

# RFC 2863, section 6: ifOperStatus, in the kernel's order
_OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")


@immutable
class Counters:
    """What the interface has counted since it exists: the first fields of struct rtnl_link_stats64, in order."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int
    multicast: int
    collisions: int
    rx_length_errors: int
    rx_over_errors: int
    rx_crc_errors: int
    rx_frame_errors: int
    rx_fifo_errors: int
    rx_missed_errors: int


def read(interface: str | int, *, but: int = 0) -> Link:
    """Everything about `interface`, by its name, alternative name or ifindex, in this thread's network namespace.

    Needs no privileges, except to name the owner of an attached XDP program. Takes about 1 ms; with an attached program
    it searches the open files of all processes. `but`: the id of our own program, which is not looked at.
    Errors: NoSuchInterface, with a similar name if there is one.
    """
    try:
        if isinstance(interface, str) and "\0" in interface:  # the kernel would stop reading there
            raise _unknown(interface)
        ifindex, _, _ = netlink.link(interface)
    except KernelError as error:
        if error.errno not in (errno.ENODEV, errno.EINVAL, errno.ERANGE):
            raise
        raise _unknown(interface) from None
    if isinstance(interface, str) and interface.startswith(PREFIX):
        return _read(interface, but)  # a mark, which nobody else gets
    return steadily(ifindex, lambda name: _read(name, but))


def _read(name: str, but: int) -> Link:
    ifindex, link_type, flags, found = netlink.typed_link(name)
    info = netlink.attributes(found.get(_INFO, b""))
    kind = netlink.text(info.get(_INFO_KIND))
    rx_queues, tx_queues = _queues(name, ifindex, found)
    merging, peer = _on_its_way(ifindex, kind, link_type, found)
    declared = xdp_features(ifindex)
    return Link(
        name=netlink.text(found.get(_NAME)) or name,
        ifindex=ifindex,
        kind=kind,
        driver=ethtool.driver(name),
        mac=found.get(_ADDRESS, b"").hex(":"),
        up=bool(flags & _IFF_UP),
        carrier=bool(netlink.unsigned(found.get(_CARRIER))),
        operstate=_OPERSTATES[netlink.unsigned(found.get(_OPERSTATE))],
        mtu=netlink.unsigned(found.get(_MTU)),
        min_mtu=netlink.unsigned(found.get(_MIN_MTU)),
        max_mtu=netlink.unsigned(found.get(_MAX_MTU)) or None,
        rx_queues=rx_queues,
        tx_queues=tx_queues,
        rings=ethtool.rings(name),
        gro=ethtool.gro(name),
        lro=ethtool.lro(name),
        rx_vlan_offload=ethtool.rx_vlan_offload(name),
        xdp=_xdp(found, but),
        xdp_features=declared.features if declared else None,
        zero_copy_segments=declared.zero_copy_segments if declared else None,
        rx_metadata=declared.rx_metadata if declared else None,
        type=link_type,
        peer=peer,
        merging_below=merging,
        vnet_headers=kind == "tun" and bool(_number(info.get(_INFO_DATA), _TUN_VNET_HDR)),
    )


def counters(ifindex: int) -> Counters:
    """The interface's own counters, now. Errors: InterfaceGone."""
    return Counters(*struct.unpack_from(f"{len(fields(Counters))}Q", _attributes(ifindex)[_STATS64]))


def carrier(ifindex: int) -> bool:
    """Whether the interface has carrier, now. Errors: InterfaceGone."""
    return bool(netlink.unsigned(_attributes(ifindex).get(_CARRIER)))


def carrier_losses(ifindex: int) -> int:
    """How often the interface has lost its carrier. Errors: InterfaceGone."""
    return netlink.unsigned(_attributes(ifindex).get(_CARRIER_DOWN_COUNT))


def is_up(ifindex: int) -> bool:
    """Whether the interface is up administratively, now. Errors: InterfaceGone."""
    return bool(_ask(ifindex)[0] & _IFF_UP)


def move(ifindex: int, namespace: int) -> None:
    """Put an interface that is down into another network namespace, by its descriptor: `ip link set ... netns`.

    It keeps its name; if that is taken there, it becomes the first free one of vf0, vf1, ... Needs CAP_NET_ADMIN in
    both. Errors: KernelError, PrivilegeError.
    """
    what, there = f"moving interface {ifindex}", netlink.attribute(_NET_NS_FD, struct.pack("i", namespace))
    names = [netlink.attribute(_NAME, f"vf{number}\0".encode()) for number in range(_NAMES_TRIED)]
    for name in (b"", *names):
        try:
            netlink.set_link(ifindex, what, there + name)
            return
        except KernelError as error:
            if error.errno != errno.EEXIST or name == names[-1]:
                raise


def silence(ifindex: int) -> None:
    """Stop the kernel from answering and asking on it who has an address (IPv4, IPv6), and from configuring one.

    Needs CAP_NET_ADMIN, and a writable /proc/sys. Errors: KernelError, PrivilegeError.
    """
    netlink.set_link(ifindex, f"arp off of interface {ifindex}", flags=_IFF_NOARP, change=_IFF_NOARP)
    name = _name(ifindex)
    switch = Path("/proc/sys/net/ipv6/conf") / name / "disable_ipv6"
    with trying(f"writing {switch}", "a writable /proc/sys is needed"):
        try:
            switch.write_text("1")
        except FileNotFoundError:
            if _name(ifindex) != name:  # it was renamed just now
                silence(ifindex)
            # else there is no IPv6


def _name(ifindex: int) -> str:
    return netlink.text(_attributes(ifindex).get(_NAME)) or ""


def _attributes(ifindex: int) -> netlink.Attributes:
    return _ask(ifindex)[1]


def _ask(ifindex: int) -> tuple[int, netlink.Attributes]:
    """The interface's flags and attributes. Errors: InterfaceGone."""
    try:
        _, flags, found = netlink.link(ifindex)
    except KernelError as error:
        if error.errno != errno.ENODEV:
            raise
        raise InterfaceGone(f"interface {ifindex}", reason="not in this network namespace") from None
    return flags, found


def _queues(name: str, ifindex: int, found: netlink.Attributes) -> tuple[int, int]:
    """Receive and transmit queues in use. If nobody says, it uses all that the interface was made with."""
    channels = ethtool.channels(name)
    if channels:
        rx, tx = channels.combined + channels.rx, channels.combined + channels.tx
    else:
        most = netlink.unsigned(found.get(_RX_QUEUES)), netlink.unsigned(found.get(_TX_QUEUES))
        rx, tx = (max(most) > 1 and queues(ifindex)) or most
    return max(rx, 1), max(tx, 1)


def _on_its_way(
    ifindex: int, kind: str | None, link_type: int, found: netlink.Attributes
) -> tuple[tuple[str, ...], Peer | None]:
    """Who merges packets below it, and the other end of the virtual wire that they come over."""
    if kind == "veth" or link_type == LOOPBACK:
        return (), peer_of(ifindex, found)
    return below(ifindex, found) if kind is not None else ((), None)


def _number(nested: bytes | None, kind: int) -> int:
    return netlink.unsigned(netlink.attributes(nested or b"").get(kind))


def _xdp(found: netlink.Attributes, but: int) -> Xdp | None:
    programs = [program for program in attached_in(found) if program.program_id != but]
    if not programs:
        return None
    whose = owner(programs[0].program_id)
    return Xdp(programs[0].mode, whose.program_id, whose.program_name, whose.pid, whose.command)


def _unknown(interface: str | int) -> NoSuchInterface:
    names = [name for _, name in interfaces()]
    similar = get_close_matches(str(interface), names, n=1)
    hint = f"did you mean {similar[0]}?" if similar else f"the interfaces are {', '.join(names[:_NAMES_SHOWN])}"
    return NoSuchInterface(f"no interface {short(interface)} in this network namespace", hint=hint)
