# SPDX-License-Identifier: Apache-2.0
"""What an n-tuple rule can compare, in ethtool's words, with sizes and places in the kernel's structures.

    struct ethtool_rx_flow_spec   flow_type | h_u: a union by flow type | h_ext: fields that all may have | m_u | m_ext

A field's offset counts from the beginning of that union or, for fields that all may have, of `struct
ethtool_flow_ext`. All numbers there are in network order. Source: include/uapi/linux/ethtool.h; ethtool(8), "-N".
"""

from __future__ import annotations

from typing import Literal

from offramp.immutable import immutable

__all__ = ["FLOWS", "OVERLAYS", "Field", "Flow"]

Form = Literal["number", "hex", "ip", "mac"]
Where = Literal["flow", "ext", "mac-ext"]  # in h_u; in h_ext, announced by FLOW_EXT or by FLOW_MAC_EXT


@immutable
class Field:
    """One thing to compare. `form` is how people write it."""

    name: str
    offset: int  # bytes
    size: int  # bytes
    form: Form
    where: Where = "flow"

    @property
    def ones(self) -> int:
        """The mask that compares all of it."""
        return (1 << 8 * self.size) - 1


@immutable
class Flow:
    """A flow type: its number (TCP_V4_FLOW, ...) and its fields by name, in the order in which rules are written."""

    number: int
    fields: dict[str, Field]


def _flow(number: int, *fields: Field) -> Flow:
    return Flow(number, {field.name: field for field in fields})


_EXTENSIONS = (
    Field("vlan-etype", 8, 2, "hex", "ext"),
    Field("vlan", 10, 2, "hex", "ext"),  # the whole tag control information: priority and id
    Field("user-def", 12, 8, "hex", "ext"),  # the driver decides what it means
)
_DESTINATION = Field("dst-mac", 2, 6, "mac", "mac-ext")
_MORE = (*_EXTENSIONS, _DESTINATION)

_ADDRESSES4 = (Field("src-ip", 0, 4, "ip"), Field("dst-ip", 4, 4, "ip"))
_ADDRESSES6 = (Field("src-ip", 0, 16, "ip"), Field("dst-ip", 16, 16, "ip"))
_TOS, _CLASS = Field("tos", 12, 1, "hex"), Field("tclass", 36, 1, "hex")


def _ports(offset: int) -> tuple[Field, Field]:
    return Field("src-port", offset, 2, "number"), Field("dst-port", offset + 2, 2, "number")


def _first_four(offset: int) -> tuple[Field, ...]:
    """The first four bytes after the IP header, under each of their names."""
    return (Field("l4data", offset, 4, "hex"), Field("spi", offset, 4, "number"), *_ports(offset))


_PORTS4 = (*_ADDRESSES4, _TOS, *_ports(8), *_MORE)
_PORTS6 = (*_ADDRESSES6, _CLASS, *_ports(32), *_MORE)
_SPI4 = (*_ADDRESSES4, _TOS, Field("spi", 8, 4, "number"), *_MORE)
_SPI6 = (*_ADDRESSES6, _CLASS, Field("spi", 32, 4, "number"), *_MORE)

FLOWS = {
    "ether": _flow(
        0x12,
        Field("src", 6, 6, "mac"),
        Field("dst", 0, 6, "mac"),
        Field("proto", 12, 2, "hex"),
        *_EXTENSIONS,
    ),
    "ip4": _flow(0x0D, *_ADDRESSES4, _TOS, Field("l4proto", 14, 1, "number"), *_first_four(8), *_MORE),
    "tcp4": _flow(0x01, *_PORTS4),
    "udp4": _flow(0x02, *_PORTS4),
    "sctp4": _flow(0x03, *_PORTS4),
    "ah4": _flow(0x09, *_SPI4),
    "esp4": _flow(0x0A, *_SPI4),
    "ip6": _flow(0x0E, *_ADDRESSES6, _CLASS, Field("l4proto", 37, 1, "number"), *_first_four(32), *_MORE),
    "tcp6": _flow(0x05, *_PORTS6),
    "udp6": _flow(0x06, *_PORTS6),
    "sctp6": _flow(0x07, *_PORTS6),
    "ah6": _flow(0x0B, *_SPI6),
    "esp6": _flow(0x0C, *_SPI6),
}

# Other names for parts of ip4's and ip6's `l4data`, with the bits to shift by. The kernel knows only `l4data`.
OVERLAYS = {"spi": 0, "src-port": 16, "dst-port": 0}
