# SPDX-License-Identifier: Apache-2.0
"""What is never diverted: as a match, which libpcap takes too, and in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from offramp.facts.ssh import Session, Ssh

from offramp.emit.match import MatchBody
from offramp.emit.program import Spec
from offramp.llvm.programs import xdp
from offramp.lower.meaning import lower
from offramp.match import parse
from offramp.options import TABLE
from offramp.planner import PROTECTED, Protection
from offramp.verdict import Verdict
from tests.oracles.libpcap import Filter

NOTHING = Ssh((), ())
MATCH = lower(parse("udp dst port 4321"))
SESSIONS = (
    Session("10.0.0.1", 22, "10.0.0.9", 40000),
    Session("10.0.0.1", 4022, "10.0.0.2", 50000),
    Session("10.0.0.1", 50002, "10.0.0.3", 22),
    Session("2001:db8::1", 50001, "2001:db8::2", 4022),
)


def test_what_is_protected() -> None:
    ssh = Ssh((22, 2222), SESSIONS)
    assert Protection.of(ssh).text == (
        "vlan any and ((arp) or (icmp6 and icmp6[0] >= 133 and icmp6[0] <= 137)"
        " or (udp dst port 67 or 68 or 546 or 547)"
        " or (tcp port 22) or (tcp dst port 2222)"
        " or (ip src host 10.0.0.2 and dst host 10.0.0.1 and tcp src port 50000 and dst port 4022)"
        " or (ip6 src host 2001:db8::2 and dst host 2001:db8::1 and tcp src port 4022 and dst port 50001))"
    )
    assert Protection.of(ssh).words == (
        "ARP, ND, DHCP, TCP port 22 (SSH), TCP to port 2222, 2 SSH sessions on other ports"
    )


def test_port_22_is_protected_at_either_end_whatever_was_found() -> None:
    assert Protection.of(NOTHING).text.endswith(" or (tcp port 22))")
    assert Protection.of(NOTHING).words == "ARP, ND, DHCP, TCP port 22 (SSH)"


def test_the_option_says_what_is_protected() -> None:
    """Its sentence is text of a room below the planner's."""
    assert PROTECTED == "ARP, ND, DHCP and SSH"
    assert TABLE["protect"].sentence.startswith(f"leave {PROTECTED} to the kernel")


ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str).filter(lambda text: "." not in text)
PORTS = st.integers(1, 65535)
SSH = st.builds(
    Ssh,
    st.lists(PORTS, max_size=4, unique=True).map(lambda ports: tuple(sorted(ports))),
    st.lists(
        st.builds(Session, ADDRESSES, PORTS, ADDRESSES, PORTS).filter(lambda s: (":" in s.local) == (":" in s.remote)),
        max_size=80,
        unique=True,
    ).map(lambda sessions: tuple(sorted(sessions))),
)


@given(SSH)
def test_every_protection_is_a_match_for_us_and_for_libpcap(ssh: Ssh) -> None:
    made = Protection.of(ssh)
    assert made.node == parse(made.text)
    text = made.text
    with Filter(text.removeprefix("vlan any and ")):
        pass
    assert text.count("src host") <= 64


def test_the_largest_protection_fits_a_program() -> None:
    sessions = tuple(Session("2001:db8::1", 4022, f"2001:db8::{number:x}", number) for number in range(1, 200))
    protection = Protection.of(Ssh((22,), sessions))
    assert xdp(Spec(MatchBody(MATCH, Verdict.CLAIM), lower(protection.node), 4, 10**9, True)).code
