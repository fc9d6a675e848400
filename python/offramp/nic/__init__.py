# SPDX-License-Identifier: Apache-2.0
"""The network interface: what it is, what it can do, what it counts. Reads only, changes nothing.

    link.py      everything about one interface in one record: `read("eth0")`; its counters: `counters(ifindex)`
    ethtool.py   driver, channels, rings, offloads: the ioctl that `ethtool` used before netlink, in every kernel
    netdev.py    what the driver can do with XDP: the "netdev" family of generic netlink
    ssh.py       the ports and connections of SSH here, that a ramp must never cut

All of them answer for the network namespace of the calling thread.
"""

from __future__ import annotations

from offramp.nic.link import Counters, Link, Xdp, carrier, counters, is_up, netmask, read
from offramp.nic.ssh import Session, Ssh, protected_ssh

__all__ = [
    "Counters",
    "Link",
    "Session",
    "Ssh",
    "Xdp",
    "carrier",
    "counters",
    "is_up",
    "netmask",
    "protected_ssh",
    "read",
]
