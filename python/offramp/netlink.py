# SPDX-License-Identifier: Apache-2.0
"""Netlink, for the few questions that are asked while a ramp opens: one request, one answer.

pyroute2 is the tool for everything else. Here it is avoided for two reasons: its sockets refuse to work inside a
running asyncio loop, in which people open ramps too, and importing it takes 0.1 s.

    nlmsghdr: length u32, type u16, flags u16, sequence u32, port u32 | family header | attributes
    nlattr:   length u16, type u16 | payload, padded to 4 bytes       (nested ones look the same again)

The socket belongs to the network namespace of the calling thread. No privileges are needed to ask.
Source: RFC 3549; https://docs.kernel.org/userspace-api/netlink/intro.html; rtnetlink(7).
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from offramp.errors import KernelError

__all__ = ["Attributes", "attribute", "attributes", "family", "generic", "link", "text", "unsigned"]

_HEADER = struct.Struct("IHHII")
_ATTRIBUTE = struct.Struct("HH")
_LINK_HEADER = struct.Struct("BxHiII")  # struct ifinfomsg
_GENERIC_HEADER = struct.Struct("BBxx")  # struct genlmsghdr

_REQUEST = 1  # NLM_F_REQUEST
_ERROR = 2  # NLMSG_ERROR
_GET_LINK = 18  # RTM_GETLINK
_IFNAME, _ALT_IFNAME, _IFNAMSIZ = 3, 53, 16
_CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_NETLINK_GENERIC = 16
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_ANSWER_SIZE = 1 << 18

Attributes = dict[int, bytes]


def link(interface: str | int) -> tuple[int, int, Attributes]:
    """(ifindex, flags, IFLA_* attributes) of an interface, by name, alternative name or index. KernelError: ENODEV."""
    index, wanted = (interface, b"") if isinstance(interface, int) else (0, _name(interface))
    body = _LINK_HEADER.pack(socket.AF_UNSPEC, 0, index, 0, 0) + wanted
    answer = _ask(socket.NETLINK_ROUTE, _GET_LINK, body, f"interface {interface!r}")
    _, _, index, flags, _ = _LINK_HEADER.unpack_from(answer)
    return index, flags, attributes(answer[_LINK_HEADER.size :])


def family(name: str) -> int:
    """The number of a generic netlink family in this boot. KernelError: ENOENT when there is none of that name."""
    body = _GENERIC_HEADER.pack(_GET_FAMILY, 1) + attribute(_FAMILY_NAME, name.encode() + b"\0")
    answer = _ask(_NETLINK_GENERIC, _CONTROLLER, body, f"netlink family {name!r}")
    return unsigned(attributes(answer[_GENERIC_HEADER.size :])[_FAMILY_ID])


def generic(family: int, command: int, body: bytes, what: str) -> Attributes:
    """Ask a generic netlink family for one object; its attributes. KernelError as the family has it."""
    answer = _ask(_NETLINK_GENERIC, family, _GENERIC_HEADER.pack(command, 1) + body, what)
    return attributes(answer[_GENERIC_HEADER.size :])


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, encoded and padded."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def attributes(block: bytes) -> Attributes:
    """Decode a block of attributes: type -> payload (the last one, where a type occurs twice)."""
    found, offset = {}, 0
    while offset + _ATTRIBUTE.size <= len(block):
        length, kind = _ATTRIBUTE.unpack_from(block, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = block[offset + _ATTRIBUTE.size : offset + length]
        offset += length + -length % 4
    return found


def unsigned(payload: bytes | None) -> int:
    """A number of 1, 2, 4 or 8 bytes in host order; 0 for an attribute that is missing."""
    return struct.unpack({1: "B", 2: "H", 4: "I", 8: "Q"}[len(payload)], payload)[0] if payload else 0


def text(payload: bytes | None) -> str | None:
    """A NUL-terminated text; None for an attribute that is missing."""
    return payload.rstrip(b"\0").decode(errors="replace") if payload is not None else None


def _name(interface: str) -> bytes:
    raw = os.fsencode(interface)
    return attribute(_IFNAME if len(raw) < _IFNAMSIZ else _ALT_IFNAME, raw + b"\0")


def _ask(protocol: int, kind: int, body: bytes, what: str) -> bytes:
    """The first message of the answer, without its header."""
    request = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as asking:
        asking.bind((0, 0))
        asking.send(request)
        answer = asking.recv(_ANSWER_SIZE)
    length, kind, _, _, _ = _HEADER.unpack_from(answer)
    content = answer[_HEADER.size : length]
    if kind == _ERROR:
        (code,) = struct.unpack_from("i", content)
        raise KernelError(what, -code if code else errno.EPROTO)
    return content
