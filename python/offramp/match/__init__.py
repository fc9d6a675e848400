# SPDX-License-Identifier: Apache-2.0
"""Which packets: a tcpdump expression (pcap-filter(7)) as text and as a tree. Pure: nothing is looked up or resolved.

    "udp dst port 53" --parse--> Port(53, 53, Direction.DST, Protocol.UDP) --text--> "udp dst port 53"

    grammar.lark  the syntax
    tree.py       the nodes: what can be said
    parse.py      text -> tree: qualifiers, numbers, addresses
    complain.py   the words of a MatchError
    text.py       tree -> canonical text

A tree is normal by construction (`A and (B and C)` is `And(A, B, C)`), so `parse(text(node)) == node` for every node.
What a node means for the bytes of a packet is compile/lower.py.
"""

from __future__ import annotations

from .parse import parse
from .text import text
from .tree import Address, And, Compare, Direction, Everything, Field, IsProtocol, Node, Not, Or, Port, Protocol

__all__ = [
    "Address",
    "And",
    "Compare",
    "Direction",
    "Everything",
    "Field",
    "IsProtocol",
    "Node",
    "Not",
    "Or",
    "Port",
    "Protocol",
    "parse",
    "text",
]
