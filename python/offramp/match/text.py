# SPDX-License-Identifier: Apache-2.0
"""Tree to canonical text, which tcpdump accepts and `parse` turns into the same tree."""

from __future__ import annotations

from typing import assert_never

from .tree import ALL_ONES, Address, And, Compare, Direction, Everything, IsProtocol, Node, Not, Or, Port, Protocol


def text(node: Node) -> str:
    """The match as tcpdump takes it, each primitive with all its qualifiers; "" for every packet."""
    match node:
        case Everything():
            return ""
        case IsProtocol(protocol):
            return protocol.value
        case Address(network, direction, protocol):
            is_host = network.prefixlen == network.max_prefixlen
            value = f"host {network.network_address}" if is_host else f"net {network}"
            return _qualified(protocol, direction, value)
        case Port(first, last, direction, protocol):
            value = f"port {first}" if first == last else f"portrange {first}-{last}"
            return _qualified(protocol, direction, value)
        case Compare(field, relation, value, mask):
            size = "" if field.size == 1 else f":{field.size}"
            masked = "" if mask == ALL_ONES else f" & {mask:#x}"
            return f"{field.protocol.value}[{field.offset}{size}]{masked} {relation} {value}"
        case Not(part):
            return f"not {_operand(part)}"
        case And(parts):
            return " and ".join(map(_operand, parts))
        case Or(parts):
            return " or ".join(map(_operand, parts))
        case _:
            assert_never(node)


def _qualified(protocol: Protocol | None, direction: Direction, value: str) -> str:
    words = (protocol.value if protocol else "", direction.value, value)
    return " ".join(filter(None, words))


def _operand(node: Node) -> str:
    return f"({text(node)})" if isinstance(node, And | Or) else text(node)
