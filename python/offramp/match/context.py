# SPDX-License-Identifier: Apache-2.0
"""What cannot stand behind `vlan`, `mpls`, `pppoes` and tunnels: tcpdump refuses what it could not find there.

    vlan and arp         fine: an EtherType follows the tag
    mpls and arp         refused: a label says nothing of what follows, and only IP can be told from its first byte
    pppoes and vlan      refused: PPP carries no tags, and no Ethernet addresses
    vlan any twice       refused: there is no third kind of tag to look for
    vxlan and vlan       fine, and so is all else that is about Ethernet: the frame in a tunnel begins with it
    vxlan and protochain refused: the chain would begin at a place that differs

"Behind" is behind in the text, through parentheses, `not` and `or` (libpcap, gencode.c: label_stack_depth, linktype).
"""

from __future__ import annotations

from .tree import (
    Address,
    AnyVlan,
    Broadcast,
    Calculation,
    Carries,
    Compare,
    Field,
    Geneve,
    InChain,
    InSet,
    IsProtocol,
    Llc,
    Mpls,
    Multicast,
    Negative,
    Node,
    Pppoed,
    Pppoes,
    Protocol,
    Station,
    Value,
    Vlan,
    Vxlan,
)

SHIFTING = (AnyVlan, Mpls, Pppoes, Vxlan, Geneve)
MAX_TUNNELS = 2  # in each other; each makes the places in it longer to compute
IP_ETHERTYPES = (0x0800, 0x86DD)
WITH_ETHERTYPE = frozenset(  # recognised by what the link layer says comes next
    (
        *(Protocol.ARP, Protocol.RARP, Protocol.ATALK, Protocol.AARP, Protocol.DECNET, Protocol.LAT, Protocol.SCA),
        *(Protocol.MOPRC, Protocol.MOPDL, Protocol.ISO, Protocol.ESIS, Protocol.ISIS, Protocol.CLNP, Protocol.STP),
        *(Protocol.IPX, Protocol.NETBEUI),
    )
)


class Behind:
    """Which headers the conditions so far have put before the next one."""

    __slots__ = ("any_vlan", "mpls", "plain", "pppoes", "tunnels")

    def __init__(self) -> None:
        self.plain = True  # none of the others
        self.any_vlan = self.mpls = self.pppoes = False
        self.tunnels = 0

    def refuses(self, node: Node) -> str:
        """Why `node` cannot come next; "" if it can, and then it has."""
        if not self.plain and (reason := self._refusal(node)):
            return reason
        if isinstance(node, SHIFTING):
            self.plain = False
            self.any_vlan = self.any_vlan or isinstance(node, AnyVlan)
            self.mpls = self.mpls or isinstance(node, Mpls)
            self.pppoes = isinstance(node, Pppoes) or (self.pppoes and not isinstance(node, Vxlan | Geneve))
            self.tunnels += isinstance(node, Vxlan | Geneve)
        return ""

    def _refusal(self, node: Node) -> str:
        if isinstance(node, Vlan | AnyVlan):
            if self.mpls or self.pppoes:
                return f"no VLAN tag can be found behind {'mpls' if self.mpls else 'pppoes'}"
            if isinstance(node, AnyVlan) and self.tunnels:
                return "'vlan any' in a tunnel is not supported"
            return "'vlan any' stands once" if isinstance(node, AnyVlan) and self.any_vlan else ""
        if isinstance(node, Vxlan | Geneve) and self.mpls:
            return "a tunnel behind mpls is not supported"
        if isinstance(node, Vxlan | Geneve) and self.tunnels >= MAX_TUNNELS:
            return f"more than {MAX_TUNNELS} tunnels in each other are not supported"
        if isinstance(node, InChain) and self.tunnels:
            return "'protochain' cannot be followed in a tunnel"
        if self.mpls and not _is_found_behind_mpls(node):
            return "behind mpls only IPv4 and IPv6 can be told apart"
        if self.pppoes and _is_about_ethernet(node):
            return "behind pppoes there is PPP, not Ethernet"
        return ""


def _is_about_ethernet(node: Node) -> bool:
    if isinstance(node, Broadcast | Multicast):
        return node.layer is Protocol.ETHER
    return isinstance(node, Station | Llc) or (isinstance(node, InSet) and node.protocol is Protocol.ETHER)


def _is_found_behind_mpls(node: Node) -> bool:
    match node:
        case Pppoed() | Pppoes():
            return False
        case IsProtocol(protocol):
            return protocol not in WITH_ETHERTYPE
        case Address(_, _, protocol) | InSet(_, _, _, protocol):
            return protocol not in WITH_ETHERTYPE
        case Carries(number, layer):
            return layer not in WITH_ETHERTYPE and (layer is not Protocol.ETHER or number in IP_ETHERTYPES)
        case Compare(left, _, right):
            return not any(protocol in WITH_ETHERTYPE for value in (left, right) for protocol in _protocols(value))
        case _:
            return True


def _protocols(value: Value) -> list[Protocol]:
    """Of all fields in a value."""
    found, rest = [], [value]
    while rest:
        match rest.pop():
            case Field(protocol, offset):
                found.append(protocol)
                rest.append(offset)
            case Calculation(_, left, right):
                rest += (left, right)
            case Negative(inner):
                rest.append(inner)
            case _:
                pass
    return found
