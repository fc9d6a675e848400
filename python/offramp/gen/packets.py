# SPDX-License-Identifier: Apache-2.0
"""Valid Ethernet frames as bytes: templates for `Flood`, and what tests send.

    eth(ip(udp(sport=4096, dport=4321, payload=bytes(18)), src="198.18.0.1", dst=wire.b.ip), dst=wire.b.mac)

Packets are written as on the wire, from the outside in; each call returns the bytes of its layer and all inside.  The
outermost call, `eth`, fills in the sums, because it sees the addresses that they cover.  For odder packets use scapy.

Sources: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 768 (UDP), RFC 9293 (TCP), RFC 792 and 4443 (ICMP), RFC 826 (ARP),
IEEE 802.1Q.
"""

from __future__ import annotations

import socket
import struct

from offramp.checksum import checksum
from offramp.errors import OptionError
from offramp.immutable import immutable

__all__ = ["Layers", "arp", "checksum", "eth", "icmp", "icmp6", "ip", "ip6", "layers", "tcp", "udp", "with_checksums"]

ETH_IP, ETH_IP6, ETH_ARP, ETH_VLAN, ETH_QINQ = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6, ICMP6: 2}  # offset of the sum in the header
MORE_FRAGMENTS_OR_OFFSET = 0x3FFF


class Payload(bytes):
    """The bytes of a layer, which know the number by which the layer around them announces them."""

    number: int

    def __new__(cls, content: bytes, number: int) -> Payload:
        self = super().__new__(cls, content)
        self.number = number
        return self


def eth(
    payload: Payload,
    *,
    dst: str = "ff:ff:ff:ff:ff:ff",
    src: str = "02:00:00:00:00:01",
    vlan: int | tuple[int, ...] = (),
) -> bytes:
    """A frame without its check sequence.  `vlan`: one VLAN id, or several, the outermost (0x88a8) first."""
    tags = (vlan,) if isinstance(vlan, int) else vlan
    types = [ETH_QINQ] * (len(tags) - 1) + [ETH_VLAN] * bool(tags)
    header = b"".join(struct.pack("!HH", kind, tag) for kind, tag in zip(types, tags, strict=True))
    return with_checksums(_mac(dst) + _mac(src) + header + struct.pack("!H", payload.number) + payload)


def ip(payload: Payload, *, src: str, dst: str, ttl: int = 64, id: int = 0, fragment: int = 0) -> Payload:
    """An IPv4 packet without options.  `fragment`: the word of flags and fragment offset."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), id, fragment, ttl, payload.number, 0)
    return Payload(header + socket.inet_aton(src) + socket.inet_aton(dst) + payload, ETH_IP)


def ip6(payload: Payload, *, src: str, dst: str, hlim: int = 64) -> Payload:
    """An IPv6 packet without extension headers."""
    header = struct.pack("!IHBB", 6 << 28, len(payload), payload.number, hlim)
    addresses = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
    return Payload(header + addresses + payload, ETH_IP6)


def udp(*, sport: int, dport: int, payload: bytes = b"") -> Payload:
    """A UDP datagram."""
    return Payload(struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload, UDP)


def tcp(*, sport: int, dport: int, flags: int = 0x02, seq: int = 0, ack: int = 0, payload: bytes = b"") -> Payload:
    """A TCP segment without options; `flags` 0x02 is SYN."""
    return Payload(struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0) + payload, TCP)


def icmp(*, type: int = 8, code: int = 0, id: int = 1, seq: int = 1, payload: bytes = b"") -> Payload:
    """An ICMP message; type 8 is an echo request."""
    return Payload(struct.pack("!BBHHH", type, code, 0, id, seq) + payload, ICMP)


def icmp6(*, type: int = 128, code: int = 0, id: int = 1, seq: int = 1, payload: bytes = b"") -> Payload:
    """An ICMPv6 message; type 128 is an echo request."""
    return Payload(struct.pack("!BBHHH", type, code, 0, id, seq) + payload, ICMP6)


def arp(*, psrc: str, pdst: str, hwsrc: str, hwdst: str = "00:00:00:00:00:00", op: int = 1) -> Payload:
    """ARP for IPv4 over Ethernet; `op` 1 is a request, 2 a reply."""
    header = struct.pack("!HHBBH", 1, ETH_IP, 6, 4, op)
    body = _mac(hwsrc) + socket.inet_aton(psrc) + _mac(hwdst) + socket.inet_aton(pdst)
    return Payload(header + body, ETH_ARP)


@immutable
class Layers:
    """Where the headers of a frame begin, in bytes."""

    version: int  # of IP
    net: int
    transport: int
    protocol: int


def layers(frame: bytes | bytearray) -> Layers | None:
    """The layout of an IP frame, behind any VLAN tags; None for other frames and for fragments."""
    at = 12
    while int.from_bytes(frame[at : at + 2]) in (ETH_VLAN, ETH_QINQ):
        at += 4
    kind, net = int.from_bytes(frame[at : at + 2]), at + 2
    if kind == ETH_IP:
        fragment = int.from_bytes(frame[net + 6 : net + 8]) & MORE_FRAGMENTS_OR_OFFSET
        return None if fragment else Layers(4, net, net + 4 * (frame[net] & 0x0F), frame[net + 9])
    return Layers(6, net, net + 40, frame[net + 6]) if kind == ETH_IP6 else None


def with_checksums(frame: bytes | bytearray) -> bytes:
    """The frame with its IP header sum and its ICMP, TCP or UDP sum recomputed."""
    found = layers(frame)
    if found is None:
        return bytes(frame)
    out, net, transport = bytearray(frame), found.net, found.transport
    if found.version == 4:
        out[net + 10 : net + 12] = bytes(2)
        out[net + 10 : net + 12] = checksum(out[net:transport])
    if found.protocol in CHECKSUM_AT:
        at = transport + CHECKSUM_AT[found.protocol]
        out[at : at + 2] = bytes(2)
        value = checksum(_pseudo_header(out, found) + out[transport:])
        out[at : at + 2] = b"\xff\xff" if found.protocol == UDP and value == bytes(2) else value
    return bytes(out)


def _pseudo_header(frame: bytearray, found: Layers) -> bytes:
    if found.protocol == ICMP:
        return b""
    first, length = (12, 8) if found.version == 4 else (8, 32)
    addresses = frame[found.net + first : found.net + first + length]
    return bytes(addresses) + struct.pack("!II", len(frame) - found.transport, found.protocol)


def _mac(text: str) -> bytes:
    raw = bytes.fromhex(text.replace(":", ""))
    if len(raw) != 6:
        raise OptionError(f"not a MAC address: {text}")
    return raw
