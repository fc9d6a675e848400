# SPDX-License-Identifier: Apache-2.0
"""An interface in one record, as nic/link.py reads it at one moment. Pure values: no I/O."""

from __future__ import annotations

from typing import Final

from offramp.facts.link_types import ETHERNET
from offramp.immutable import immutable

__all__ = ["NOT_REPLACED", "Link", "Peer", "Rings", "Xdp", "owned"]

OURS = "offramp"  # programs of offramp carry names that start with this
THIS_PROCESS = "this process"

NOT_REPLACED: Final = "offramp never replaces a program: end that process or detach it first"  # a hint


def owned(program_id: int, name: str, mode: str, pid: int | None, command: str | None) -> str:
    """Whose XDP program it is: the one sentence about it, for errors, plans and doctor's findings."""
    named = f" {name!r}" if name else ""
    runs = f" in {mode} mode" if mode else ""
    who = command or "a process"
    if name.startswith(OURS) and who != THIS_PROCESS:
        who = f"another offramp, {who}"
    holder = f"{who} (pid {pid})" if pid is not None else "no process that is visible here"
    return f"XDP program {program_id}{named}{runs}, held by {holder}"


@immutable
class Rings:
    """Descriptors per hardware ring: in use and at most."""

    rx: int
    tx: int
    rx_max: int
    tx_max: int


@immutable
class Xdp:
    """The XDP program that an interface runs, and who owns it, as far as that is visible."""

    mode: str  # "native", "generic" or "offload"
    program_id: int
    name: str  # of the program; "" if the kernel does not let us ask
    pid: int | None  # the process that holds the link or the program
    command: str | None  # the process's name; "this process" if it is this one

    def __str__(self) -> str:
        return owned(self.program_id, self.name, self.mode, self.pid, self.command)


@immutable
class Peer:
    """The other end of a virtual wire. None stands for "cannot be seen from here"."""

    name: str | None = None  # None: it is in another network namespace
    mtu: int | None = None
    tx_queues: int | None = None  # in use
    xdp: bool | None = None  # whether it runs XDP in its driver: else it does not take what this end's XDP sends back
    segmentation: tuple[str, ...] | None = None  # offloads that are on, and send frames as no wire has them
    tags_beside: bool | None = None  # whether it sends VLAN tags beside the frame, not in it


@immutable
class Link:
    """An interface. None stands for "the driver or kernel does not say"."""

    name: str
    ifindex: int
    kind: str | None  # the kind of a virtual interface: "veth", "bond", "vlan", ...
    driver: str | None
    mac: str  # "02:00:00:00:00:01"; "" for interfaces without one
    up: bool  # administratively, IFF_UP
    carrier: bool
    operstate: str  # "up", "down", "unknown", ...: RFC 2863
    mtu: int  # bytes, without the Ethernet header
    min_mtu: int
    max_mtu: int | None
    rx_queues: int  # in use
    tx_queues: int
    rings: Rings | None
    gro: bool | None
    lro: bool | None
    rx_vlan_offload: bool | None
    xdp: Xdp | None
    xdp_features: frozenset[str] | None  # see netdev.py
    zero_copy_segments: int | None  # the buffers that a packet may have on a zero-copy socket
    rx_metadata: frozenset[str] | None  # "timestamp", "hash", "vlan-tag"
    type: int = ETHERNET  # ARPHRD_*
    peer: Peer | None = None  # of the virtual wire that packets come over; loopback is its own
    merging_below: tuple[str, ...] = ()  # interfaces that it is on, and that merge packets before it gets them
    vnet_headers: bool = (
        False  # a TAP's user writes a header in front of each frame, and may leave segmenting to others
    )
