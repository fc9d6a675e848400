# SPDX-License-Identifier: Apache-2.0
"""Canonical text: parse(text(tree)) == tree for trees of all kinds, and tcpdump accepts the text."""

from __future__ import annotations

import string
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.errors import MatchError
from offramp.match import (
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
    InSet,
    IsProtocol,
    Length,
    Llc,
    Mpls,
    Multicast,
    Negative,
    Network,
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
    parse,
    set_names,
    text,
)
from offramp.match.tree import LLC_TYPES, WITH_FIELDS, WITH_PORTS, Operator
from tests.oracles.libpcap import Filter

directions = st.sampled_from(Direction)
numbers = st.one_of(st.integers(0, 20), st.integers(0, 0xFFFF_FFFF))


def sometimes(strategy: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.none() | strategy


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    version: Literal[4, 6] = draw(st.sampled_from((4, 6)))
    bits = 32 if version == 4 else 128
    mask = Network.prefix(version, 0, draw(st.integers(0, bits))).mask
    if version == 4 and draw(st.booleans()):
        mask = draw(st.integers(0, 0xFFFF_FFFF))
    network = Network(version, draw(st.integers(0, (1 << bits) - 1)) & mask, mask)
    v4 = (None, Protocol.IP, Protocol.ARP, Protocol.RARP)
    return Address(network, draw(directions), draw(st.sampled_from(v4 if version == 4 else (None, Protocol.IP6))))


@st.composite
def ports(draw: st.DrawFn) -> Port:
    first, last = sorted((draw(st.integers(0, 65535)), draw(st.integers(0, 65535))))
    last = draw(st.sampled_from((first, last)))
    return Port(first, last, draw(directions), draw(st.sampled_from((None, *WITH_PORTS))))


@st.composite
def sets(draw: st.DrawFn) -> InSet:
    name = draw(st.text(string.ascii_letters + "_", min_size=1, max_size=5)) + draw(st.sampled_from(("", "1")))
    kind = draw(st.sampled_from(SetKind))
    hosts = (None, Protocol.ETHER, Protocol.IP, Protocol.IP6, Protocol.ARP, Protocol.RARP)
    protocol = draw(st.sampled_from((None, *WITH_PORTS) if kind is SetKind.PORT else hosts))
    return InSet(name, kind, draw(directions), protocol)


def fields(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    protocols = st.sampled_from(sorted(WITH_FIELDS, key=lambda protocol: protocol.value))
    return st.builds(Field, protocols, values, st.sampled_from((1, 2, 4)))


@st.composite
def calculations(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    operators: tuple[Operator, ...] = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")
    operator = draw(st.sampled_from(operators))
    left, right = draw(values), draw(values)
    try:
        return Calculation(operator, left, right)
    except ValueError:  # divides by what tcpdump takes for 0
        return Calculation("+", left, right)


values = st.recursive(
    st.one_of(st.builds(Number, numbers), st.just(Length())),
    lambda inner: st.one_of(fields(inner), calculations(inner), st.builds(Negative, inner)),
    max_leaves=8,
)
relations = st.sampled_from(("==", "!=", ">", ">=", "<", "<="))
plain: st.SearchStrategy[Node] = st.one_of(
    st.builds(IsProtocol, st.sampled_from([protocol for protocol in Protocol if protocol is not Protocol.ETHER])),
    st.builds(
        Carries,
        numbers,
        st.sampled_from((None, Protocol.ETHER, Protocol.IP, Protocol.IP6, Protocol.ISO, Protocol.ISIS)),
    ),
    addresses(),
    st.builds(Station, st.integers(0, (1 << 48) - 1), directions),
    ports(),
    st.builds(Broadcast),
    st.builds(Multicast, st.sampled_from((Protocol.ETHER, Protocol.IP, Protocol.IP6))),
    st.builds(Vlan, sometimes(st.integers(0, 4095))),
    st.builds(Pppoed),
    st.builds(Llc, st.sampled_from(sorted(LLC_TYPES))),
    st.builds(Compare, values, relations, values),
)
shifting = st.one_of(
    st.builds(Mpls, sometimes(st.integers(0, (1 << 20) - 1))), st.builds(Pppoes, sometimes(st.integers(0, 65535)))
)
extended = st.one_of(sets(), st.builds(AnyVlan), st.just(Broadcast(Protocol.IP)))


def combine(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, min_size=2, max_size=4).map(tuple)
    return st.one_of(st.builds(Not, parts), st.builds(And, several), st.builds(Or, several))


def trees(primitives: st.SearchStrategy[Any]) -> st.SearchStrategy[Node]:
    return st.one_of(st.builds(Everything), st.recursive(primitives, combine, max_leaves=12))


@given(trees(plain))
def test_text_parses_to_the_same_tree_and_tcpdump_takes_it(tree: Node) -> None:
    assert parse(text(tree)) == tree
    assert str(tree) == text(tree)
    assert hash(parse(text(tree))) == hash(tree)
    Filter(text(tree), optimize=False).close()


@given(trees(st.one_of(plain, shifting, extended)))
def test_text_of_all_nodes_parses_to_the_same_tree(tree: Node) -> None:
    """Unless something stands where tcpdump would not find it: a tree is not in text order, and its text is."""
    try:
        parsed = parse(text(tree))
    except MatchError as error:
        assert any(word in error.what for word in ("behind", "stands once"))  # noqa: PT017
        return
    assert parsed == tree
    assert set_names(parsed) == set_names(tree)


@pytest.mark.parametrize(
    ("source", "canonical"),
    [
        ("port 80 or 443", "port 80 or port 443"),
        ("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", "tcp[13] & (0x2 | 0x10) == 2"),
        ("ether proto \\arp", "ether proto 0x806"),
        ("link src a-b-c-d-e-f", "ether src host 0a:0b:0c:0d:0e:0f"),
        ("net 10 or 10.0.0.0 mask 255.0.0.1", "net 10.0.0.0/8 or net 10.0.0.0 mask 255.0.0.1"),
        ("src or dst net 2001:0db8::/32", "net 2001:db8::/32"),
        ("(ip[2:2] - ((ip[0]&0xf)<<2)) - 4 != 0", "(ip[2:2] - ((ip[0] & 0xf) << 2)) - 4 != 0"),
        ("1 + 2 % 3 + 4 = - len", "1 + (2 % (3 + 4)) == -len"),
        ("greater 60", "len >= 60"),
        ("not (tcp or not udp) and (ip or arp)", "not (tcp or not udp) and (ip or arp)"),
        ("ip6 src in @a or in @b", "ip6 src host in @a or ip6 src host in @b"),
        ("vlan 3 and vlan any", "vlan 3 and vlan any"),
    ],
)
def test_canonical_text(source: str, canonical: str) -> None:
    assert text(parse(source)) == canonical
