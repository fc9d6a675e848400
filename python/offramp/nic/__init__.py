# SPDX-License-Identifier: Apache-2.0
"""The network interface: what it is, what it can do, what it counts, and how it can be changed.

    link.py          everything about one interface in one record: `read("eth0")`; its counters: `counters(ifindex)`
    live.py          a real interface as a `Nic`: `open_nic("eth0")`, get, set
    device.py        which device an interface is, across renames
    capable.py       what it can do, as facts/capabilities.py has it
    stacked.py       what is below a bond, bridge or VLAN

    ethtool.py       driver, channels, rings, offloads            features.py   all offloads by the kernel's names
    rss.py           indirection table, key, hash fields          rules.py      n-tuple rules
    stats.py         the driver's counters                        rates.py      packets a second, by queue
    carrier_watch.py how long its carrier is gone after a change
    vf.py            virtual functions, by netlink                qstats.py     the kernel's counters by queue
    pci.py           drivers and number of VFs, in sysfs
    netdev.py        what the driver can do with XDP: the "netdev" family of generic netlink
    found.py         SSH and routing daemons that are here: `find()`; a ramp leaves their packets to the kernel

    udev.py          whether udev has given an interface its lasting name

All of them answer for the network namespace of the calling thread. Only `set` of live.py calls functions that change
something, and only the journal, which can undo the change, calls `set`. The exception is link.py's `move` and
`silence`: they are for the interface of a VF, which ends with the VF.
"""

from __future__ import annotations

from offramp.facts.found import Found, Session
from offramp.facts.link import Link, Xdp
from offramp.nic.found import find
from offramp.nic.link import Counters, carrier, counters, is_up, read
from offramp.syscalls.ioctl import netmask

__all__ = [
    "Counters",
    "Found",
    "Link",
    "Session",
    "Xdp",
    "carrier",
    "counters",
    "find",
    "is_up",
    "netmask",
    "read",
]
