# SPDX-License-Identifier: Apache-2.0
"""Names of services and protocols: what they stand for, and the errors for unknown ones."""

from __future__ import annotations

import socket

import pytest

from offramp.errors import MatchError
from offramp.match import Carries, Direction, Names, Node, Not, Or, Port, Protocol, parse
from offramp.match.names import ETHER_PROTOCOLS, PROTOCOLS
from offramp.matcher import services as system_names

TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP
SERVICES = {
    ("http", "tcp"): 80,
    ("domain", "tcp"): 53,
    ("domain", "udp"): 53,
    ("ntp", "udp"): 123,
    ("odd", "tcp"): 5,
    ("odd", "udp"): 6,
    ("proto-x", "tcp"): 7,
    ("src-port", "tcp"): 8,
}
NAMES = Names(lambda name, protocol: SERVICES.get((name, protocol)), PROTOCOLS.get, "write the number, please")


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        ("port http", Port(80, 80, protocol=TCP)),  # of the protocols that have the service
        ("port domain", Port(53, 53)),
        ("udp dst port domain", Port(53, 53, Direction.DST, UDP)),
        ("sctp port domain", Port(53, 53, protocol=SCTP)),
        ("port ntp", Port(123, 123, protocol=UDP)),
        ("port odd", Port(5, 5, protocol=TCP)),
        ("port proto-x or src-port", Or((Port(7, 7, protocol=TCP), Port(8, 8, protocol=TCP)))),
        ("port http or 53 and not ntp", None),
        ("portrange ntp-domain", Port(53, 123)),  # tcpdump forgets the protocols if they differ
        ("portrange http-odd", Port(5, 80, protocol=TCP)),
        ("portrange http-443", Port(80, 443)),
        ("portrange 20-http", Port(20, 80)),
        ("ip proto \\gre", Carries(47, Protocol.IP)),
        ("proto ospf", Carries(89)),
    ],
)
def test_services_and_protocols(source: str, tree: Node | None) -> None:
    if tree is None:
        first = Or((Port(80, 80, protocol=TCP), Port(53, 53)))
        assert parse(source, NAMES) == parse("tcp port 80 or port 53 and not udp port 123")
        assert str(first) in str(parse(source, NAMES))
        assert str(Not(Port(123, 123, protocol=UDP))) in str(parse(source, NAMES))
        return
    assert parse(source, NAMES) == tree


@pytest.mark.parametrize(
    ("source", "what", "hint"),
    [
        ("port nosuch", "'nosuch' is not a port", "write the number, please"),
        ("port https", "'https' is not a port", "did you mean 'port 443'?"),
        ("udp port http", "'http' is a service of tcp", "write the number of the port"),
        ("sctp port http", "'http' is a service of tcp", "write the number of the port"),
        ("tcp portrange ntp-ntp", "'ntp-ntp' is a service of udp", "write the number of the port"),
        ("portrange http-nosuch", "'nosuch' is not a port", "write the number, please"),
        ("portrange http-70000", "port 70000 is not in 0..65535", ""),
        ("port \\65536", "'65536' is not a port", "write the number, please"),
        ("ip proto nosuch", "'nosuch' is not a protocol of ip", "write its number"),
        ("ether proto vlan", "'vlan'", ""),
        (
            "host http",
            "'http' is not an address",
            "names of hosts are looked up where that is asked for (resolve=True): write the address",
        ),
    ],
)
def test_unknown_names(source: str, what: str, hint: str) -> None:
    with pytest.raises(MatchError) as caught:
        parse(source, NAMES)
    assert what in caught.value.what
    assert caught.value.hint.startswith(hint)


def test_without_names_only_numbers_and_protocols_are_known() -> None:
    assert parse("ip proto \\tcp") == Carries(6, Protocol.IP)
    with pytest.raises(MatchError, match="names of services are not known here"):
        parse("port nosuch")


def test_the_names_of_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def service(name: str, protocol: str) -> int:
        if (name, protocol) not in SERVICES:
            raise OSError("service/proto not found")
        return SERVICES[name, protocol]

    def protocol(name: str) -> int:
        raise OSError("protocol not found")

    monkeypatch.setattr(socket, "getservbyname", service)
    monkeypatch.setattr(socket, "getprotobyname", protocol)
    names = system_names.system()
    assert parse("port http", names) == Port(80, 80, protocol=TCP)
    assert parse("ip proto \\sctp", names) == Carries(132, Protocol.IP)  # without /etc/protocols
    with pytest.raises(MatchError, match="nosuch"):
        parse("ip proto nosuch", names)
    monkeypatch.setattr(system_names, "SERVICES", "/nowhere/services")
    with pytest.raises(MatchError, match="this system has no /nowhere/services: write the number"):
        parse("port nosuch", system_names.system())


def test_the_tables_of_the_language() -> None:
    assert all(
        parse(f"ether proto \\{name}") == Carries(ETHER_PROTOCOLS[name], Protocol.ETHER) for name in ETHER_PROTOCOLS
    )
    assert parse("icmp6[icmp6type] == icmp6-multicastrouterterm") == parse("icmp6[0] == 153")
    assert parse("tcp[tcpflags] == tcp-fin|tcp-cwr") == parse("tcp[13] == 1|128")
