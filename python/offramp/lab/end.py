# SPDX-License-Identifier: Apache-2.0
"""One end of a wire: a veth interface on a host, and what a test does to it.

Offloads are switched with the oldest ethtool calls (one flag, one ioctl: linux/ethtool.h), everything else by netlink.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from offramp.errors import InterfaceError, InterfaceGone, KernelError
from offramp.immutable import immutable
from offramp.lab.host import Host
from offramp.lab.napi import napi_threads
from offramp.syscalls import ioctl

__all__ = ["Interface"]

ETHTOOL_GFLAGS, ETHTOOL_SFLAGS = 0x25, 0x26
ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x17, 0x1F, 0x24, 0x2C
ETH_FLAG_TXVLAN, ETH_FLAG_RXVLAN = 1 << 7, 1 << 8


@immutable
class Interface:
    """An interface of a host.  `ip` and `ip6` are addresses without the prefix length (/24 and /64); `mac` is text."""

    name: str
    ifindex: int
    mac: str
    ip: str
    ip6: str
    host: Host

    # -- the link --------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Sets the interface up; returns when it has carrier, if its peer is up."""
        self._link("set", state="up")

    def down(self) -> None:
        """Sets the interface down: the peer loses its carrier."""
        self._link("set", state="down")

    def set_mtu(self, mtu: int) -> None:
        """Bytes of the network layer, without the Ethernet header."""
        self._link("set", mtu=mtu)

    def move_to(self, host: Host) -> None:
        """Moves the interface to another host; this record is stale afterwards."""
        self._link("set", net_ns_fd=host.fileno())

    def delete(self) -> None:
        """Removes the interface, and with it the other end of the wire."""
        self._link("del")

    def stats(self) -> dict[str, int]:
        """The kernel's counters (rx_packets, rx_dropped, tx_packets, ...; struct rtnl_link_stats64)."""
        with self.host.netlink() as route:
            (link,) = route.get_links(self.ifindex)
            return dict(link.get_attr("IFLA_STATS64"))

    def wait_for_carrier(self, timeout: float = 5.0) -> None:
        """Waits until the kernel sends and receives here.  Both ends have to be up."""
        deadline = time.monotonic() + timeout
        with self.host.netlink() as route:
            while True:
                (link,) = route.get_links(self.ifindex)
                state = link.get_attr("IFLA_OPERSTATE")
                if state == "UP" and link.get_attr("IFLA_CARRIER"):  # the state follows a lost carrier a second later
                    return
                if time.monotonic() > deadline:
                    raise InterfaceError(f"no carrier on {self.name} of host {self.host.name}", reason=f"it is {state}")
                time.sleep(0.001)

    def _link(self, verb: str, **what: Any) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        with self.host.netlink() as route:
            try:
                route.link(verb, index=self.ifindex, **what)
            except NetlinkError as error:
                if error.code == errno.ENODEV:
                    raise InterfaceGone(f"{self.name} is no longer on host {self.host.name}") from error
                raise KernelError(f"link {verb} {self.name} {what or ''}".rstrip(), error.code) from error

    # -- NAPI: on which CPU frames are received ----------------------------------------------------------------------

    def set_threaded_napi(self, on: bool, *, cpu: int | None = None) -> list[int]:
        """Receives in kernel threads instead of on the sender's CPU; pins those threads to `cpu`; returns their pids.

        A veth has NAPI only while XDP is attached or GRO is on: do that first, and call this again when that changes.
        """
        threaded = Path("/sys/class/net", self.name, "threaded")
        try:
            self.host.call(threaded.write_text, str(int(on)))
        except OSError as error:
            hint = "a veth has no NAPI yet: attach XDP, or gro(True), first" if error.errno == errno.EOPNOTSUPP else ""
            raise KernelError(f"threaded NAPI on {self.name}", error.errno or 0, hint=hint) from error
        return self.pin_napi(cpu) if on and cpu is not None else self.napi_threads()

    def pin_napi(self, cpu: int | Iterable[int]) -> list[int]:
        """Pins every NAPI thread to one CPU, or thread i (queue i) to the i-th of several; returns their pids."""
        pids = self.napi_threads()
        cpus = [cpu] * len(pids) if isinstance(cpu, int) else list(cpu)
        for pid, target in zip(pids, cpus, strict=False):
            os.sched_setaffinity(pid, {target})
        return pids

    def napi_threads(self) -> list[int]:
        """Pids of the NAPI threads, queue by queue; empty if NAPI is not threaded or not running."""
        with self.host:
            return napi_threads(self.ifindex, self.name)

    # -- offloads --------------------------------------------------------------------------------------------------

    def gro(self, on: bool) -> None:
        """Generic receive offload. A veth without XDP gets live XDP frames only if this is on."""
        self._ethtool(ETHTOOL_SGRO, int(on))

    def gso(self, on: bool) -> None:
        """Generic segmentation offload. With it off, no frame larger than the MTU leaves."""
        self._ethtool(ETHTOOL_SGSO, int(on))

    def tso(self, on: bool) -> None:
        """TCP segmentation offload."""
        self._ethtool(ETHTOOL_STSO, int(on))

    def tx_checksum_offload(self, on: bool) -> None:
        """With it off, every frame carries its checksums; with it on, veth leaves them unfinished."""
        self._ethtool(ETHTOOL_STXCSUM, int(on))

    def keep_tags_in_frames(self) -> None:
        """Before Linux 6.8, XDP cannot see VLAN tags beside a frame. There, this makes veth leave them in the frame."""
        from offramp import nic

        if "vlan-tag" not in (self.host.call(nic.read, self.name).rx_metadata or ()):
            self.tx_vlan_offload(False)
            self.rx_vlan_offload(False)

    def tx_vlan_offload(self, on: bool) -> None:
        """With it off, VLAN tags are written into the frame; with it on, they cross the veth out of band."""
        self._flag(ETH_FLAG_TXVLAN, on)

    def rx_vlan_offload(self, on: bool) -> None:
        """With it on, a NIC strips VLAN tags and passes them out of band."""
        self._flag(ETH_FLAG_RXVLAN, on)

    def _flag(self, flag: int, on: bool) -> None:
        flags = self._ethtool(ETHTOOL_GFLAGS, 0)
        self._ethtool(ETHTOOL_SFLAGS, flags | flag if on else flags & ~flag)

    def _ethtool(self, command: int, value: int) -> int:
        """struct ethtool_value {u32 cmd; u32 data}."""
        request = bytearray(struct.pack("II", command, value))
        with self.host:
            ioctl.call(self.name, request, f"ethtool command {command:#x} in host {self.host.name}")
        return int(struct.unpack("II", request)[1])
