# SPDX-License-Identifier: Apache-2.0
"""Which packets: a tcpdump expression (pcap-filter(7)) as text and as a tree. Pure: nothing is looked up or resolved.

    "udp dst port 53" --parse--> Port(53, 53, Direction.DST, Protocol.UDP) --text--> "udp dst port 53"

    tree.py        the nodes, and how they print         values.py      what relations compare
    leaves.py      its leaves: conditions                network.py     addresses under a mask
    words.py       protocols, directions                 protocols.py   the numbers that headers have for them

    scan.py        text -> tokens                        names.py       names that are numbers
    parse.py       tokens -> tree: chains and groups     numbers.py     spellings of addresses -> numbers
    primitive.py   qualifiers and a value -> node        runs.py        long lists of addresses
    condition.py   the other conditions -> node          context.py     what cannot stand behind mpls and pppoes
    arithmetic.py  values -> node                        complain.py    the words of a MatchError
                                                         suggest.py     what was probably meant

A tree is normal by construction (`A and (B and C)` is `And(A, B, C)`), so `parse(text(node)) == node` for every node.
lower/meaning.py says what a node means for the bytes of a packet. Two extensions are not in tcpdump: `in @name`, a set
that is bound when the match is compiled, and `vlan any`.
"""

from __future__ import annotations

from .names import Names
from .network import Network
from .parse import parse
from .tree import (
    Address,
    And,
    AnyVlan,
    Broadcast,
    Calculation,
    Carries,
    Compare,
    Direction,
    Everything,
    Field,
    Geneve,
    InChain,
    InSet,
    IsProtocol,
    Length,
    Llc,
    Mpls,
    Multicast,
    Negative,
    Node,
    Not,
    Number,
    Or,
    Port,
    Pppoed,
    Pppoes,
    Protocol,
    SetKind,
    Station,
    Vlan,
    Vxlan,
    primitives,
    set_names,
    text,
)

__all__ = [
    "Address",
    "And",
    "AnyVlan",
    "Broadcast",
    "Calculation",
    "Carries",
    "Compare",
    "Direction",
    "Everything",
    "Field",
    "Geneve",
    "InChain",
    "InSet",
    "IsProtocol",
    "Length",
    "Llc",
    "Mpls",
    "Multicast",
    "Names",
    "Negative",
    "Network",
    "Node",
    "Not",
    "Number",
    "Or",
    "Port",
    "Pppoed",
    "Pppoes",
    "Protocol",
    "SetKind",
    "Station",
    "Vlan",
    "Vxlan",
    "parse",
    "primitives",
    "set_names",
    "text",
]
