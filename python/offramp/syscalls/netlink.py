# SPDX-License-Identifier: Apache-2.0
"""Netlink, for the few questions that are asked while a ramp opens, and for the changes that are made to a link.

pyroute2 is the tool for everything else. It is avoided here for two reasons: its sockets refuse to work inside a
running asyncio loop, where people also open ramps, and importing it takes 0.1 s.

    nlmsghdr: length u32, type u16, flags u16, sequence u32, port u32 | family header | attributes
    nlattr:   length u16, type u16 | payload, padded to 4 bytes       (nested ones look the same again)

The socket belongs to the network namespace of the calling thread. Asking needs no privileges; changing needs
CAP_NET_ADMIN.
Source: RFC 3549; https://docs.kernel.org/userspace-api/netlink/intro.html; rtnetlink(7).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

from offramp.arguments import short
from offramp.errors import KernelError, PrivilegeError
from offramp.syscalls.failure import trying
from offramp.text import decoded, encoded

__all__ = [
    "Attributes",
    "add_name",
    "attribute",
    "attributes",
    "each",
    "family",
    "generic",
    "generic_dump",
    "link",
    "remove_name",
    "set_link",
    "text",
    "typed_link",
    "unsigned",
]

_HEADER = struct.Struct("IHHII")
_ATTRIBUTE = struct.Struct("HH")
_LINK_HEADER = struct.Struct("BxHiII")  # struct ifinfomsg
_GENERIC_HEADER = struct.Struct("BBxx")  # struct genlmsghdr

_REQUEST, _ACKNOWLEDGE, _DUMP, _EXCLUSIVE, _CREATE = 1, 4, 0x300, 0x200, 0x400  # NLM_F_*
_ERROR, _DONE = 2, 3  # NLMSG_*
_GET_LINK, _SET_LINK, _NEW_NAMES, _DELETE_NAMES = 18, 19, 108, 109  # RTM_*
_IFNAME, _EXT_MASK, _TARGET_NETNSID, _NAMES, _ALT_IFNAME, _IFNAMSIZ = 3, 29, 46, 52, 53, 16
_ALTIFNAMSIZ = 128
_CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_NETLINK_GENERIC = 16
_NESTED = 0x8000  # NLA_F_NESTED
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_ANSWER_SIZE = 1 << 18

Attributes = dict[int, bytes]


def link(interface: str | int, more: int = 0) -> tuple[int, int, Attributes]:
    """(ifindex, flags, IFLA_* attributes) of an interface, by name, alternative name or index. KernelError: ENODEV.

    `more`: flags for what the kernel leaves out unless asked (RTEXT_FILTER_*).
    """
    index, _, flags, found = typed_link(interface, more)
    return index, flags, found


def typed_link(
    interface: str | int, more: int = 0, *, namespace: int | None = None
) -> tuple[int, int, int, Attributes]:
    """As `link`, with the link's type (ARPHRD_*) after the ifindex.

    `namespace`: the number by which this network namespace knows another one. Looking there needs CAP_NET_ADMIN there.
    """
    index, wanted = (interface, b"") if isinstance(interface, int) else (0, _name(interface))
    wanted += attribute(_EXT_MASK, struct.pack("I", more)) if more else b""
    wanted += attribute(_TARGET_NETNSID, struct.pack("i", namespace)) if namespace is not None else b""
    body = _LINK_HEADER.pack(socket.AF_UNSPEC, 0, index, 0, 0) + wanted
    answer = _ask(socket.NETLINK_ROUTE, _GET_LINK, body, f"interface {interface!r}")
    _, kind, index, flags, _ = _LINK_HEADER.unpack_from(answer)
    return index, kind, flags, attributes(answer[_LINK_HEADER.size :])


def set_link(interface: str | int, what: str, body: bytes = b"", *, flags: int = 0, change: int = 0) -> None:
    """Change a link, by index or any name: its attributes, and the flags that have a bit in `change`. Errors:
    KernelError.
    """
    index, named = (interface, b"") if isinstance(interface, int) else (0, _alternative(interface))
    header = _LINK_HEADER.pack(socket.AF_UNSPEC, 0, index, flags, change)
    _ask(socket.NETLINK_ROUTE, _SET_LINK, header + named + body, what, flags=_REQUEST | _ACKNOWLEDGE)


def add_name(ifindex: int, name: str) -> None:
    """Give a link one more name: `ip link property add`. It goes with the link into other network namespaces. Minimum
    kernel: 5.5. Errors: KernelError (EEXIST: a link here has that name).
    """
    _change_names(_NEW_NAMES, ifindex, name, _REQUEST | _ACKNOWLEDGE | _CREATE | _EXCLUSIVE)


def remove_name(name: str) -> None:
    """Take an alternative name away from the link that has it. Errors: KernelError (ENODEV: there is none)."""
    _change_names(_DELETE_NAMES, link(name)[0], name, _REQUEST | _ACKNOWLEDGE)


def _change_names(kind: int, ifindex: int, name: str, flags: int) -> None:
    header = _LINK_HEADER.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0)
    body = attribute(_NAMES | _NESTED, _alternative(name))
    _ask(socket.NETLINK_ROUTE, kind, header + body, f"alternative name {name} of interface {ifindex}", flags=flags)


def family(name: str) -> int:
    """The number of a generic netlink family in this boot. KernelError: ENOENT if there is no family of that name."""
    body = _GENERIC_HEADER.pack(_GET_FAMILY, 1) + attribute(_FAMILY_NAME, name.encode() + b"\0")
    answer = _ask(_NETLINK_GENERIC, _CONTROLLER, body, f"netlink family {name!r}")
    return unsigned(attributes(answer[_GENERIC_HEADER.size :])[_FAMILY_ID])


def generic(family: int, command: int, body: bytes, what: str) -> Attributes:
    """Ask a generic netlink family for one object. Returns its attributes. Errors: KernelError."""
    answer = _ask(_NETLINK_GENERIC, family, _GENERIC_HEADER.pack(command, 1) + body, what)
    return attributes(answer[_GENERIC_HEADER.size :])


def generic_dump(family: int, command: int, body: bytes, what: str) -> list[Attributes]:
    """Ask a generic netlink family for all objects that `body` names. Returns the attributes of each."""
    found: list[Attributes] = []
    request = _message(family, _GENERIC_HEADER.pack(command, 1) + body, _REQUEST | _DUMP)
    with trying(what), _socket(_NETLINK_GENERIC) as asking:
        asking.send(request)
        while True:
            for kind, content in _messages(asking.recv(_ANSWER_SIZE)):
                if kind in (_ERROR, _DONE):
                    _check(content, what)
                    return found
                found.append(attributes(content[_GENERIC_HEADER.size :]))


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, encoded and padded."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def attributes(block: bytes) -> Attributes:
    """Decode a block of attributes: type -> payload. If a type occurs twice, the last one counts."""
    return dict(each(block))


def each(block: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a block one by one: type and payload."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(block):
        length, kind = _ATTRIBUTE.unpack_from(block, offset)
        if length < _ATTRIBUTE.size:
            break
        yield kind & _TYPE_MASK, block[offset + _ATTRIBUTE.size : offset + length]
        offset += length + -length % 4


def unsigned(payload: bytes | None) -> int:
    """A number of 1, 2, 4 or 8 bytes in host order; 0 for an attribute that is missing."""
    return struct.unpack({1: "B", 2: "H", 4: "I", 8: "Q"}[len(payload)], payload)[0] if payload else 0


def text(payload: bytes | None) -> str | None:
    """A NUL-terminated text, as it is (offramp/text.py); None for an attribute that is missing."""
    return decoded(payload.rstrip(b"\0")) if payload is not None else None


def _name(interface: str) -> bytes:
    raw = _bytes(interface)
    return attribute(_IFNAME if len(raw) < _IFNAMSIZ else _ALT_IFNAME, raw + b"\0")


def _alternative(interface: str) -> bytes:
    """The kernel looks for it among all names."""
    return attribute(_ALT_IFNAME, _bytes(interface) + b"\0")


def _bytes(interface: str) -> bytes:
    """Errors: KernelError (ENODEV) for what cannot be the name of any."""
    try:
        raw = encoded(interface)
    except UnicodeEncodeError:
        raw = b""
    if not 0 < len(raw) < _ALTIFNAMSIZ:
        raise KernelError(f"interface {short(interface)}", errno.ENODEV)
    return raw


def _ask(protocol: int, kind: int, body: bytes, what: str, *, flags: int = _REQUEST) -> bytes:
    """The first message of the answer, without its header; empty if only an acknowledgement was asked for."""
    with trying(what), _socket(protocol) as asking:
        asking.send(_message(kind, body, flags))
        kind, content = next(_messages(asking.recv(_ANSWER_SIZE)))
    if kind == _ERROR:
        _check(content, what)
        if not flags & _ACKNOWLEDGE:
            raise KernelError(what, errno.EPROTO)
        return b""
    return content


def _socket(protocol: int) -> socket.socket:
    asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        asking.bind((0, 0))
    except BaseException:
        asking.close()
        raise
    return asking


def _message(kind: int, body: bytes, flags: int) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _messages(answer: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(answer):
        length, kind, _, _, _ = _HEADER.unpack_from(answer, offset)
        yield kind, answer[offset + _HEADER.size : offset + length]
        offset += length + -length % 4


def _check(content: bytes, what: str) -> None:
    """Check the first word of an error or of a dump's end: 0, or a negative errno."""
    (code,) = struct.unpack_from("i", content)
    if code in (-errno.EPERM, -errno.EACCES):
        raise PrivilegeError(what, -code, hint="CAP_NET_ADMIN is needed")
    if code:
        raise KernelError(what, -code)
