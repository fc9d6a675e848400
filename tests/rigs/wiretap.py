# SPDX-License-Identifier: Apache-2.0
"""Both ends of a quiet wire, byte for byte: what is sent, and what the receiving host's stack gets.

    Sender        frames out of an interface as they are (AF_PACKET), with a VLAN tag beside them if wanted
    Tap           frames that the stack of a host receives, behind XDP, as they were on the wire

The kernel takes the outer VLAN tag out of every frame that it receives, so a tap puts it back (PACKET_AUXDATA). The
kernel drops tagged frames that end less than two bytes behind their tag, so no tap sees those (skb_vlan_untag).

Sources: packet(7); bpf-helpers(7), bpf_skb_vlan_push; include/uapi/linux/if_packet.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from offramp.bpf.descriptor import Descriptor
from offramp.emit.bytecode import instruction
from offramp.syscalls.bpf import Command, bpf, buffer
from offramp.syscalls.kept import Kept
from offramp.testing import Interface, Wire
from tests.rigs.bytecode import returns
from tests.rigs.waiting import eventually

TAGS = (0x8100, 0x88A8)
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_AUXDATA, PACKET_QDISC_BYPASS = 263, 8, 20
AUXDATA = "IIIHHHH"  # struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
TP_STATUS_VLAN_VALID = 1 << 4
SCHED_CLS, TCX_EGRESS, VLAN_PUSH = 3, 47, 18  # enums bpf_prog_type, bpf_attach_type, bpf_func_id


def hush(wire: Wire) -> None:
    """Removes the addresses of both ends, so that the hosts themselves send nothing."""
    for end in (wire.a, wire.b):
        end.host.sysctl(f"net.ipv6.conf.{end.name}.disable_ipv6", 1)
        with end.host.netlink() as route:
            route.flush_addr(index=end.ifindex)


class _Raw:
    """A packet socket on the interface's host, which receives nothing before it is bound."""

    def __init__(self, interface: Interface) -> None:
        with interface.host:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


class Sender(_Raw):
    """Sends frames out of `interface`: at once, past the queueing disciplines, unless a tag is to
    be put beside them.
    """

    def __init__(self, interface: Interface, bypass: bool = True) -> None:
        super().__init__(interface)
        self._socket.bind((interface.name, 0))
        self._socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, int(bypass))

    def __call__(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self._socket.send(frame)


class Tap(_Raw):
    """Receives what the host of `interface` receives there, whomever it is for. Make it before the
    first frame is sent.
    """

    def __init__(self, interface: Interface) -> None:
        super().__init__(interface)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self._socket.setblocking(False)
        with interface.host:
            self._socket.bind((interface.name, ETH_P_ALL))

    def __call__(self) -> list[bytes]:
        """The frames since the last call, each as it was on the wire."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, messages, _, address = self._socket.recvmsg(1 << 16, 256)
                if address[2] != socket.PACKET_OUTGOING:
                    frames.append(_with_tag(frame, messages))
        return frames

    def take(self, count: int) -> list[bytes]:
        """The frames since the last call, as soon as there are `count`; after ten seconds, those that there are."""
        frames: list[bytes] = []

        def enough() -> bool:
            frames.extend(self())
            return len(frames) >= count

        eventually(enough, 10.0)
        return frames


def _with_tag(frame: bytes, messages: list[tuple[int, int, bytes]]) -> bytes:
    for level, kind, data in messages:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack_from(AUXDATA, data)
            if status & TP_STATUS_VLAN_VALID:
                return tagged(frame, tpid, tci)
    return frame


def tagged(frame: bytes, ethertype: int, tci: int) -> bytes:
    """The frame with one more VLAN tag, outside of those that it has."""
    return frame[:12] + struct.pack("!HH", ethertype, tci) + frame[12:]


def is_seen_by_taps(frame: bytes) -> bool:
    """Whether the kernel accepts a frame at all."""
    return len(frame) >= 20 or int.from_bytes(frame[12:14]) not in TAGS


@contextlib.contextmanager
def tags_beside(interface: Interface, ethertype: int, tci: int) -> Iterator[None]:
    """Gives what leaves a VLAN tag out of band, as a VLAN interface on a NIC with offload does: by a TCX program with
    bpf_skb_vlan_push (Linux 6.6). Only 15 bits of `tci` are kept, because Linux uses the drop-eligible bit itself.
    """
    code = b"".join(
        (
            instruction(0xB7, 2, immediate=socket.htons(ethertype)),
            instruction(0xB7, 3, immediate=tci),
            instruction(0x85, immediate=VLAN_PUSH),
            returns(0),
        )
    )
    instructions, license_text = buffer(code), buffer(b"GPL\0")
    pointers = ctypes.addressof(instructions), ctypes.addressof(license_text)
    load = struct.pack("IIQQ", SCHED_CLS, len(code) // 8, *pointers)
    with interface.host, Descriptor(Kept()) as program, Descriptor(Kept()) as attached:
        bpf(Command.PROG_LOAD, load, kept=program._kept)
        bpf(Command.LINK_CREATE, struct.pack("IIII", program.fd, interface.ifindex, TCX_EGRESS, 0), kept=attached._kept)
        yield


@contextlib.contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """Runs the calling thread on one CPU, so that it sends on one queue."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
