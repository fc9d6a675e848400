# SPDX-License-Identifier: Apache-2.0
"""Questions that a peer answers with a packet of a flow. So a silent flow can be observed, if the user wants that.

    flow, with both addresses     asked from its destination         answered from its source
    icmp, icmp6, any protocol     echo request                       echo reply
    tcp, with both ports          SYN                                SYN and ACK, or RST
    udp, with both ports          an empty datagram                  only from a service that answers such datagrams

An answer that goes to the kernel ends what the question began: the kernel knows no such connection, and resets it.
Needs CAP_NET_RAW. Source: raw(7), ip(7), ipv6(7); RFC 792, RFC 4443, RFC 9293 section 3.1, RFC 768.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from offramp.checksum import checksum
from offramp.errors import KernelError, NotSupported
from offramp.immutable import immutable
from offramp.planner import Flow
from offramp.text import encoded

__all__ = ["Question", "ask", "question"]

_ICMP, _TCP, _UDP, _ICMP6 = 1, 6, 17, 58
_ECHO = {_ICMP: 8, _ICMP6: 128}
_SYN = 0x02
_CHECKSUM_AT = {_TCP: 16, _UDP: 6}


@immutable
class Question:
    """A packet from the destination of a flow to its source. Ports are 0 for an echo request."""

    protocol: int
    here: str
    there: str
    port_here: int = 0
    port_there: int = 0

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.here else socket.AF_INET


def question(flows: Iterable[Flow]) -> Question:
    """A question about the first of the flows whose packets somebody can be asked for. Errors: NotSupported."""
    for flow in flows:
        if found := _question(flow):
            return found
    raise NotSupported(
        "a probe for this match",
        reason="no peer can be asked: it leaves several addresses or ports possible, or is about another protocol",
    )


def ask(question: Question, interface: str) -> None:
    """Send it out of the interface. Errors: NotSupported if its source address is not ours; KernelError."""
    what = f"a probe from {question.here} to {question.there} out of {interface}"
    try:
        with socket.socket(question.family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, question.protocol) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, encoded(interface))
            if question.family == socket.AF_INET6 and question.protocol in _CHECKSUM_AT:
                raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, _CHECKSUM_AT[question.protocol])
            try:
                raw.bind((question.here, 0))
            except OSError:
                raise NotSupported(what, reason=f"{question.here} is not an address of this machine") from None
            raw.sendto(_bytes(question), (question.there, 0))
    except OSError as error:
        raise KernelError(what, error.errno or 0) from error


def _question(flow: Flow) -> Question | None:
    version = flow.version
    if version is None:
        return None
    size = 4 if version == 4 else 16
    here, there = (_whole(part, size) for part in (flow.dst, flow.src))
    if here is None or there is None:
        return None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    ends = [socket.inet_ntop(family, address.to_bytes(size)) for address in (here, there)]
    echo = _ICMP if version == 4 else _ICMP6
    protocol = flow.protocol.value if flow.protocol else echo
    if protocol == echo:
        return Question(echo, ends[0], ends[1]) if flow.sport is None and flow.dport is None else None
    port_here, port_there = (_whole(part, 2) for part in (flow.dport, flow.sport))
    if protocol not in _CHECKSUM_AT or port_here is None or port_there is None:
        return None
    return Question(protocol, ends[0], ends[1], port_here, port_there)


def _whole(part: tuple[int, int] | None, size: int) -> int | None:
    """The value, if the match fixes all bits of the field."""
    return part[0] if part is not None and part[1] == (1 << 8 * size) - 1 else None


def _bytes(asked: Question) -> bytes:
    """The packet without the IP header, which the kernel adds; for IPv6 the kernel also adds the checksum."""
    match asked.protocol:
        case 1:
            head = struct.pack("!BBHHH", _ECHO[_ICMP], 0, 0, 0, 0)
            return head[:2] + checksum(head) + head[4:]
        case 58:
            return struct.pack("!BBHHH", _ECHO[_ICMP6], 0, 0, 0, 0)
        case 17:  # no checksum over IPv4
            return struct.pack("!HHHH", asked.port_here, asked.port_there, 8, 0)
    head = struct.pack("!HHIIBBHHH", asked.port_here, asked.port_there, 0, 0, 5 << 4, _SYN, 1024, 0, 0)
    if asked.family == socket.AF_INET6:
        return head
    pseudo = socket.inet_aton(asked.here) + socket.inet_aton(asked.there) + struct.pack("!HH", _TCP, len(head))
    return head[:16] + checksum(pseudo + head) + head[18:]
