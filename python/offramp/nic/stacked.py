# SPDX-License-Identifier: Apache-2.0
"""What is below an interface: the ports of a bond or bridge, the interface that a VLAN or macvlan is on.

    bond0.7 (vlan) ──IFLA_LINK──> bond0 <──IFLA_MASTER── eth0, eth1

Queues, rules and XDP belong to the lowest interfaces. A veth's IFLA_LINK is its peer, not a lower device; the same is
true for anything in another network namespace (IFLA_LINK_NETNSID). No privileges are needed. Source:
include/uapi/linux/if_link.h.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from offramp.errors import KernelError
from offramp.immutable import immutable
from offramp.nic.device import interfaces
from offramp.syscalls import netlink

__all__ = ["Standing", "lower_devices", "resolve"]

_NAME, _LINK, _MASTER, _INFO, _LINK_NETNSID = 3, 5, 10, 18, 37
_INFO_KIND = 1
_STACKED = frozenset({"ipvlan", "ipvtap", "macsec", "macvlan", "macvtap", "vlan"})


@immutable
class Standing:
    """An interface's relations to others, by number; 0 for none."""

    name: str
    kind: str | None
    link: int  # the interface that it is on
    master: int  # the interface that it is a port of


def lower_devices(interface: str) -> tuple[str, ...]:
    """The lowest interfaces below this one, sorted by name; empty if it is on none. Takes 0.1 ms for each interface of
    this network namespace. Errors: KernelError (ENODEV).
    """
    ifindex, _, its = netlink.link(interface)
    standing = {ifindex: _standing(its)}
    for number, _ in interfaces():
        try:
            _, _, found = netlink.link(number)
        except KernelError as error:
            if error.errno != errno.ENODEV:  # else it was removed just now
                raise
        else:
            standing[number] = _standing(found)
    return resolve(ifindex, standing)


def resolve(ifindex: int, interfaces: Mapping[int, Standing]) -> tuple[str, ...]:
    """`lower_devices` among these interfaces."""
    below, todo, seen = [], [ifindex], {ifindex}
    while todo:
        number = todo.pop()
        next_ones = _below(number, interfaces)
        if not next_ones and number != ifindex:
            below.append(interfaces[number].name)
        todo += [each for each in next_ones if each not in seen]
        seen.update(next_ones)
    return tuple(sorted(below))


def _below(number: int, interfaces: Mapping[int, Standing]) -> list[int]:
    its = interfaces[number]
    if its.kind in _STACKED and its.link in interfaces:
        return [its.link]
    return [each for each, other in interfaces.items() if other.master == number]


def _standing(found: netlink.Attributes) -> Standing:
    kind = netlink.text(netlink.attributes(found.get(_INFO, b"")).get(_INFO_KIND))
    elsewhere = _LINK_NETNSID in found
    link = 0 if elsewhere else netlink.unsigned(found.get(_LINK))
    return Standing(netlink.text(found.get(_NAME)) or "", kind, link, netlink.unsigned(found.get(_MASTER)))
