# SPDX-License-Identifier: Apache-2.0
"""VXLAN and Geneve: whether a packet is one, and where the frame in it is.

    vxlan    Ethernet, IP, UDP to port 4789, 8 bytes, Ethernet ...
    geneve   Ethernet, IP, UDP to port 6081, 8 bytes, options, Ethernet or something else that has an ethertype ...

IPv4's header has a length of its own, IPv6's is fixed, and nobody knows before which of them it is. So the places of
what is in a tunnel are made of choices. Sources: RFC 7348, RFC 8926; libpcap, gencode.c (gen_vxlan, gen_geneve).
"""

from __future__ import annotations

from typing import Final

from offramp.match.protocols import BRIDGED, GENEVE_PORT, IP, IP6, IP6_HEADER, VXLAN_PORT
from offramp.match.tree import Direction, Geneve, Protocol, Vxlan

from .addresses import ports_of
from .expression import All, Any, Calculation, Choice, Expr, Number, Place, Test
from .layers import PPP_NUMBERS, Layers, equal, load, masked

UDP_HEADER: Final = 8
HEADER: Final = 8  # VXLAN's; Geneve's without options
ETHERNET_TYPE, ETHERNET_HEADER = 12, 14
VNI_AT, VNI_MASK = 4, 0xFFFF_FF00


def tunnel(node: Vxlan | Geneve, layers: Layers) -> Expr:
    """Whether it is such a packet. Enters it."""
    checks = Any(tuple(_check(node, version, layers) for version in (IP, IP6)))
    type_ = load(layers.type, 0, 2)
    is_ip = PPP_NUMBERS[IP] if layers.is_ppp else IP
    header = (*layers.network.behind, Choice(type_, is_ip, layers.ip_header, Number(IP6_HEADER)))
    start = Place(layers.network.offset + UDP_HEADER, header)
    layers.is_ppp, layers.has_link = False, None
    if isinstance(node, Vxlan):
        _enter_vxlan(start, layers)
        return checks
    _enter_geneve(start, layers)
    is_there = Test(load(start, 2, 2), ">=", Number(0))  # its type: a packet that ends in front of it is rejected
    return All((checks, is_there))


def _check(node: Vxlan | Geneve, version: int, layers: Layers) -> Expr:
    port = VXLAN_PORT if isinstance(node, Vxlan) else GENEVE_PORT
    to_port = ports_of(version, Direction.DST, Protocol.UDP, layers, lambda key: equal(key[0], port))
    place = layers.transport if version == IP else Place(layers.network.offset + IP6_HEADER, layers.network.behind)
    start = Place(place.offset + UDP_HEADER, place.behind)
    first = load(start, 0, 1)
    parts = [to_port, equal(first, 0x08) if isinstance(node, Vxlan) else masked(first, 0xC0, 0)]
    if node.vni is not None:
        parts.append(masked(load(start, VNI_AT, 4), VNI_MASK, node.vni << 8))
    return All(tuple(parts))


def _enter_vxlan(start: Place, layers: Layers) -> None:
    layers.link = _after(start, HEADER)
    layers.type = _after(layers.link, ETHERNET_TYPE)
    layers.payload = _after(layers.link, ETHERNET_HEADER)


def _enter_geneve(start: Place, layers: Layers) -> None:
    """If it does not carry Ethernet, its own type says what follows."""
    options = Calculation("<<", Calculation("&", load(start, 0, 1), Number(0x3F)), Number(2))
    carried = load(start, 2, 2)
    type_ = Calculation("+", options, Number(HEADER + ETHERNET_TYPE - 2))
    layers.link = Place(start.offset + HEADER, (*start.behind, options))
    layers.type = Place(start.offset + 2, (*start.behind, Choice(carried, BRIDGED, type_, Number(0))))
    header = Choice(carried, BRIDGED, Number(ETHERNET_HEADER), Number(0))
    layers.payload = Place(layers.link.offset, (*layers.link.behind, header))
    layers.has_link = equal(carried, BRIDGED)


def _after(place: Place, offset: int) -> Place:
    return Place(place.offset + offset, place.behind)
