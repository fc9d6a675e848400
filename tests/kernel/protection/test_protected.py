# SPDX-License-Identifier: Apache-2.0
"""What is protected gets to the kernel whatever matches, and what is nearly the same does not: on real packets."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

import offramp
from offramp import DROP, HashSet, Match, PrefixSet
from offramp.errors import MatchError, OfframpWarning, OptionError
from offramp.facts.found import DAEMONS
from offramp.gen.packets import eth, ip, tcp, udp
from offramp.protection import ROWS
from offramp.ramp.attachment import Attachment
from offramp.testing import Lab, Wire
from tests.generators.protected import NEIGHBOURS, PROTECTED_FRAMES
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Sender, Tap, hush, tagged, tags_beside

pytestmark = pytest.mark.speed  # it would take long in a slow guest

ALWAYS = [frame for name, frame in PROTECTED_FRAMES if name not in DAEMONS]
WHERE_FOUND = [(name, frame) for name, frame in PROTECTED_FRAMES if name in DAEMONS]
OTHERS = [frame for _, frame in NEIGHBOURS]


@pytest.fixture
def wire(lab: Lab) -> Wire:
    """Nothing is heard on it but what the test sends."""
    wire = lab.wire(lab.host("a"), lab.host("b"))
    hush(wire)
    return wire


def open_(wire: Wire, match: str | Match, verdict: str, **options: object) -> Attachment:
    with wire.b.host:
        if verdict == "CLAIM":
            return offramp.open(wire.b.name, match, stall=None, **options)  # type: ignore[arg-type]
        return offramp.attach(wire.b.name, match, DROP, **options)  # type: ignore[arg-type]


def reached(wire: Wire, ramp: Attachment, frames: Iterable[bytes], beside: bool = False) -> Counter[bytes]:
    """The frames that the kernel gets of these."""
    frames, kernel = list(frames), list[bytes]()
    before = ramp.ledger()
    with Tap(wire.b) as tap, contextlib.ExitStack() as stack:
        if beside:
            stack.enter_context(tags_beside(wire.a, 0x8100, 5))
        with Sender(wire.a, bypass=not beside) as send:
            for start in range(0, len(frames), 100):
                send(frames[start : start + 100])

        def settled() -> bool:
            kernel.extend(tap())
            now = ramp.ledger()
            passed = now.protected + now.passed - before.protected - before.passed
            return now.seen - before.seen == len(frames) and len(kernel) == passed

        assert eventually(settled), (ramp.ledger(), len(kernel))
    return Counter(kernel)


# -- the table ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", ["DROP", "CLAIM"])
def test_each_row_stays_with_the_kernel_and_what_is_nearly_it_does_not(wire: Wire, verdict: str) -> None:
    both = [frame for pair in zip(ALWAYS, OTHERS, strict=False) for frame in pair] + ALWAYS + OTHERS
    with open_(wire, "", verdict) as ramp:
        assert [row.name for row in ramp.plan.protection.rows] == [  # type: ignore[union-attr]
            row.name for row in ROWS if row.name not in DAEMONS
        ]
        assert reached(wire, ramp, both) == Counter(frame for frame in both if frame in ALWAYS)
        ledger = ramp.ledger()
    protected = sum(frame in ALWAYS for frame in both)
    assert (ledger.protected, ledger.claimed, ledger.passed) == (protected, len(both) - protected, 0)


@pytest.mark.parametrize("tags", [(0x8100,), (0x88A8, 0x8100)])
def test_tags_make_no_difference(wire: Wire, tags: tuple[int, ...]) -> None:
    def behind(frame: bytes) -> bytes:
        return frame[:12] + b"".join(tag.to_bytes(2) + b"\0\5" for tag in tags) + frame[12:]

    with open_(wire, "", "DROP") as ramp:
        assert reached(wire, ramp, map(behind, ALWAYS + OTHERS)) == Counter(map(behind, ALWAYS))


@pytest.mark.since("6.8")
def test_a_tag_beside_the_frame_makes_no_difference(wire: Wire) -> None:
    frames = [frame for frame in ALWAYS if frame[12:14] != b"\x81\0"]
    with open_(wire, "", "DROP") as ramp:
        assert reached(wire, ramp, frames + OTHERS, beside=True) == Counter(tagged(each, 0x8100, 5) for each in frames)


def test_with_false_nothing_is_protected(wire: Wire) -> None:
    with pytest.warns(OfframpWarning, match="nothing is protected: what keeps a link, a route or a login alive"):
        ramp = open_(wire, "", "DROP", protect=False)
    with ramp:
        assert not reached(wire, ramp, ALWAYS + OTHERS)
        assert (ramp.plan.protected, ramp.plan.protect, ramp.plan.protection) == ("nothing", None, None)


@pytest.mark.parametrize("match", ["arp", "ether proto 0x88cc", "tcp port 22"])
def test_a_match_that_is_protected_as_a_whole_is_warned_about(wire: Wire, match: str) -> None:
    with pytest.warns(OfframpWarning, match="every packet of this match is protected"):
        ramp = open_(wire, match, "DROP")
    with ramp:
        frames = [frame for frame in ALWAYS if Match(match).matches(frame)]
        assert reached(wire, ramp, frames) == Counter(frames)


# -- daemons -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def daemon(wire: Wire, name: str) -> Iterator[None]:
    """A socket by which it is recognised."""
    sign = DAEMONS[name]
    kind = {"raw": socket.SOCK_RAW, "udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}[sign.table]
    with wire.b.host, socket.socket(socket.AF_INET6, kind, sign.numbers[0] if sign.table == "raw" else 0) as held:
        if sign.table != "raw":
            held.bind(("::", sign.numbers[0]))
        if sign.table == "tcp":
            held.listen()
        yield


@pytest.mark.parametrize("name", DAEMONS)
def test_a_routing_protocol_is_protected_where_its_daemon_is(wire: Wire, name: str) -> None:
    frames = [frame for _, frame in WHERE_FOUND]
    with daemon(wire, name), open_(wire, "", "DROP") as ramp:
        assert name in ramp.plan.protected.split(", ")
        assert reached(wire, ramp, frames + OTHERS) == Counter(frame for row, frame in WHERE_FOUND if row == name)
    with open_(wire, "", "DROP") as ramp:
        assert name not in ramp.plan.protected.split(", ")
        assert not reached(wire, ramp, frames)


def test_all_of_them_at_once(wire: Wire) -> None:
    """So many ports are a look-up."""
    with contextlib.ExitStack() as held:
        for name in DAEMONS:
            held.enter_context(daemon(wire, name))
        ramp = held.enter_context(open_(wire, "", "DROP"))
        assert {row.name for row in ramp.plan.protection.rows} == {row.name for row in ROWS}  # type: ignore[union-attr]
        protected = [frame for _, frame in PROTECTED_FRAMES]
        assert reached(wire, ramp, [*protected, *OTHERS]) == Counter(protected)


# -- what the user protects --------------------------------------------------------------------------------------------

FRIEND, STRANGER, OTHER = "203.0.113.7", "203.0.113.8", "198.51.100.1"


def from_(source: str, port: int = 4321) -> bytes:
    return eth(ip(udp(sport=1000, dport=port), src=source, dst="10.0.0.2"))


@pytest.mark.parametrize("verdict", ["DROP", "CLAIM"])
@pytest.mark.parametrize("own", [f"src host {FRIEND}", Match(f"src host {FRIEND}")], ids=["text", "Match"])
def test_packets_of_the_users_own_are_protected_beside_the_rest(wire: Wire, verdict: str, own: str | Match) -> None:
    frames = [from_(FRIEND), from_(STRANGER), from_(FRIEND, 99)] * 5
    with open_(wire, "udp", verdict, protect=own) as ramp:
        assert ramp.plan.protected == f"DHCP, packets of your own: src host {FRIEND}"
        wanted = [frame for frame in frames if frame != from_(STRANGER)]
        assert reached(wire, ramp, [*frames, *ALWAYS]) == Counter([*wanted, *ALWAYS])
        assert ramp.ledger().claimed == 5
        ramp.replace("udp dst port 4321")  # it stays for another match
        assert reached(wire, ramp, frames) == Counter(wanted)
    assert ramp.plan.protected == f"packets of your own: src host {FRIEND}"


def test_sets_of_the_same_name_in_both_matches(wire: Wire) -> None:
    blocked, spared = PrefixSet(["203.0.113.0/24"]), HashSet([FRIEND])
    match, own = Match("src host in @hosts", hosts=blocked), Match("host in @hosts and not dst port 99", hosts=spared)
    frames = [from_(FRIEND), from_(STRANGER), from_(OTHER), from_(FRIEND, 99)]
    with open_(wire, match, "DROP", protect=own) as ramp:
        assert set(reached(wire, ramp, frames)) == {from_(FRIEND), from_(OTHER)}
        spared.add(STRANGER)
        assert set(reached(wire, ramp, frames)) == {from_(FRIEND), from_(OTHER), from_(STRANGER)}
        spared.clear()
        assert set(reached(wire, ramp, frames)) == {from_(OTHER)}
        blocked.clear()
        assert set(reached(wire, ramp, frames)) == set(frames)


@pytest.mark.parametrize("own", ["vlan 5", "vlan 5 and udp dst port 4321", "vlan and src host 203.0.113.7"])
@pytest.mark.parametrize("beside", [pytest.param(True, marks=pytest.mark.since("6.8")), False])
def test_it_is_about_the_wire_as_every_match_is(wire: Wire, own: str, beside: bool) -> None:
    bare, with_tag = from_(FRIEND), tagged(from_(FRIEND), 0x8100, 5)
    with open_(wire, "not tcp", "DROP", protect=own) as ramp:
        assert not reached(wire, ramp, [bare])
        assert set(reached(wire, ramp, [bare] if beside else [with_tag], beside)) == {with_tag}
        assert not reached(wire, ramp, [bare])


def test_a_packet_that_ends_before_what_it_asks_for_is_not_protected(wire: Wire) -> None:
    with open_(wire, "udp", "DROP", protect="ether[200] == 0") as ramp:
        long = from_(FRIEND) + bytes(300)
        assert set(reached(wire, ramp, [from_(FRIEND), long])) == {long}


def test_what_cannot_match_anyway_costs_nothing(wire: Wire) -> None:
    with open_(wire, "udp dst port 4321", "DROP", protect="tcp") as ramp:
        assert ramp.plan.protected == "nothing that can match"
        assert not reached(wire, ramp, [from_(FRIEND)])


def test_each_ramp_has_its_own_protection(wire: Wire) -> None:
    """What one leaves alone, the next may take."""
    with (
        open_(wire, f"src host {FRIEND} or src host {OTHER}", "DROP", protect=f"src host {FRIEND}") as first,
        open_(wire, "udp", "DROP", protect=f"src host {OTHER}") as second,
    ):
        frames = [from_(FRIEND), from_(STRANGER), from_(OTHER)]
        with Sender(wire.a) as send:
            send(frames)
        assert eventually(lambda: (first.ledger().seen, second.ledger().seen) == (3, 2))
        assert (first.ledger().protected, first.ledger().claimed, second.ledger().claimed) == (1, 1, 2)
        first.close()
        assert set(reached(wire, second, frames)) == {from_(OTHER)}


@pytest.mark.parametrize("call", [offramp.open, offramp.attach])
def test_a_wrong_value_is_named(lab: Lab, call: object) -> None:
    host = lab.host("a")

    def told(value: object, kind: type[Exception]) -> str:
        with host, pytest.raises(kind) as caught:
            call("lo", "udp", protect=value)  # type: ignore[operator]
        return str(caught.value)

    assert told(5, OptionError) == "protect=5: not True, False or a match"
    assert told(None, OptionError) == "protect=None: not True, False or a match"
    assert told("prot tcp", MatchError).startswith("protect=: unknown word 'prot'")
    assert told("host in @friends", OptionError).startswith("protect=: the match names a set, @friends")
    assert told("tcp port 80 80", MatchError).startswith("protect=: ")


def test_the_largest_that_two_matches_can_be(wire: Wire) -> None:
    """Both are in the program, and both are counted when it is too large."""
    hosts = " or ".join(f"host 10.1.{number >> 8}.{number & 255}" for number in range(2000))
    with open_(wire, f"tcp and ({hosts})", "DROP", protect=f"src host {FRIEND} or ({hosts})") as ramp:
        one = eth(ip(tcp(sport=1000, dport=80), src="10.1.0.1", dst="10.0.0.2"))
        assert set(reached(wire, ramp, [one, from_(FRIEND)])) == {one, from_(FRIEND)}
