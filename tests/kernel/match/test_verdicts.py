# SPDX-License-Identifier: Apache-2.0
"""The truth about packets: exactly those that libpcap says yes to are claimed, byte for byte as they were on the wire,
and the kernel gets exactly the others.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest

import offramp
from offramp.errors import InterfaceError, NotSupported, OfframpWarning
from offramp.facts.found import Found
from offramp.lower.expression import TAG_ETHERTYPES
from offramp.lower.meaning import lower
from offramp.match import parse
from offramp.protection import Protection
from offramp.ramp.attachment import Attachment
from offramp.ramp.ramp import Ramp
from offramp.testing import Interface, Lab, Wire
from tests.generators.corpus import corpus
from tests.oracles.libpcap import Filter
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import TAGS, Sender, Tap, hush, is_seen_by_taps, on_cpu, tagged, tags_beside

SSH = 22
# All ramps here have stall=None: a test that the machine has no time for is not to be told so in packets.
MATCHES = [
    "",
    "ip",
    "not ip6",
    "udp dst port 4321",
    "not udp port 4321",
    "not tcp",
    "host 10.0.0.1",
    "not host 10.0.0.1",
    "src net 10.0.0.0/8 and not dst net 192.168.0.0/16",
    "net 2001:db8::/126",
    "not src net fe80::/97",
    "portrange 53-4321",
    "not portrange 53-4321",
    "udp src portrange 4000-5000 or icmp or icmp6",
    "tcp dst port 80 and (src net 10.0.0.0/8 or src host 2001:db8::1)",
    "arp or sctp port 4321 or not ip and not ip6",
    "ip[8] < 128 or tcp[13] & 2 != 0",
]
# Prefixes with words of an address behind them: libpcap's program as generated loads these words, the optimised one
# does not, and so they differ on packets that are cut off there.
WHOLE_PACKETS_ONLY = ["net 2001:db8::/32", "ip6 and not src net 2001:db8::/64"]
LONGEST_HEADERS = 70
EVERYTHING = Protection.of(Found((SSH,)), lower(parse("")))


class Oracle:
    """What is to become of a frame, as libpcap judges it: by the program as generated, in which a load beyond the end
    of a packet means what classic BPF says.
    """

    def __init__(self, attachment: Attachment) -> None:
        plan = attachment.plan
        self._match = Filter(plan.match, optimize=False)
        self._all = _protected(EVERYTHING) if plan.protection is not None else None
        self._protect = _protected(plan.protection) if plan.protection is not None else None

    def is_protected(self, frame: bytes) -> bool:
        """By the rows that the plan has for this match."""
        return self._protect is not None and self._protect(_behind_tags(frame))

    def is_claimed(self, on_wire: bytes, in_frame: bytes) -> bool:
        """By all rows: those that the plan has left out make no difference."""
        return not (self._all and self._all(_behind_tags(in_frame))) and self._match(on_wire)


def _protected(protection: Protection) -> Filter | None:
    return Filter(protection.text.removeprefix("vlan any and "), optimize=False) if protection.text else None


def _behind_tags(frame: bytes, most: int = 2) -> bytes:
    """What is behind up to two tags in the frame; one beside it makes no difference."""
    is_tagged = int.from_bytes(frame[12:14]) in TAG_ETHERTYPES and len(frame) >= 18
    return _behind_tags(frame[:12] + frame[16:], most - 1) if most and is_tagged else frame


@dataclass
class Outcome:
    """Where frames went."""

    claimed: list[bytes] = field(default_factory=list)
    kernel: list[bytes] = field(default_factory=list)
    sent: int = 0

    def collect(self, ramp: Ramp, tap: Tap) -> None:
        while (batch := ramp.rx(timeout=0)) is not None:
            self.claimed += map(bytes, batch)
        self.kernel += tap()


def settle(outcome: Outcome, ramp: Ramp, tap: Tap) -> None:
    """Until every frame that was sent is somewhere."""

    def settled() -> bool:
        outcome.collect(ramp, tap)
        ledger = ramp.ledger()
        return ledger.seen >= outcome.sent and ledger.exact and ledger.total("waiting") == 0

    assert eventually(settled), ramp.ledger()


def deliver(
    frames: list[bytes], send: Callable[[Iterable[bytes]], None], outcome: Outcome, ramp: Ramp, tap: Tap
) -> None:
    """Sends, in parts that every ring and buffer on the way has room for."""
    for start in range(0, len(frames), 200):
        part = frames[start : start + 200]
        send(part)
        outcome.sent += len(part)
        settle(outcome, ramp, tap)


def same(got: Iterable[bytes], wanted: Iterable[bytes]) -> bool:
    """Whether these are the same frames, whatever their order; shows some of the difference."""
    extra, missing = Counter(got), Counter(wanted)
    extra, missing = extra - missing, missing - extra
    for what, frames in (("unexpected", extra), ("missing", missing)):
        for frame in list(frames)[:3]:
            print(f"{what}: {frame[:80].hex()} ({len(frame)} bytes)")
    return not extra and not missing


@pytest.fixture
def wire(lab: Lab) -> Iterator[Wire]:
    """Nothing is heard on it but what the test sends; host b has a server on SSH's port."""
    wire = lab.wire(lab.host("a"), lab.host("b"))
    hush(wire)
    with wire.b.host:
        server = socket.create_server(("", SSH))
    with server:
        yield wire


def judge(oracle: Oracle, frames: Iterable[bytes], wanted: Outcome) -> None:
    for frame in frames:
        if oracle.is_claimed(frame, frame):
            wanted.claimed.append(frame)
        elif is_seen_by_taps(frame):
            wanted.kernel.append(frame)


# -- native ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("match", MATCHES + WHOLE_PACKETS_ONLY)
def test_claimed_is_what_libpcap_says(wire: Wire, match: str) -> None:
    least = LONGEST_HEADERS if match in WHOLE_PACKETS_ONLY else 0
    frames, beside = ([frame for frame in corpus(seed, 1500) if len(frame) >= least] for seed in (1, 2))
    outcome, wanted = Outcome(), Outcome()
    with wire.b.host:
        ramp = offramp.open(wire.b.name, match, stall=None)
    with ramp, Tap(wire.b) as tap:
        oracle = Oracle(ramp)
        with Sender(wire.a) as send:
            deliver(frames, send, outcome, ramp, tap)
        judge(oracle, frames, wanted)
        if ramp.plan.vlan_metadata:  # Linux 6.8
            for number, ethertype in enumerate(TAGS):
                part = beside[number::4]
                with Sender(wire.a, bypass=False) as send, tags_beside(wire.a, ethertype, 0x6ABC):
                    deliver(part, send, outcome, ramp, tap)
                frames += part
                for frame in part:
                    on_wire = tagged(frame, ethertype, 0x6ABC)
                    (wanted.claimed if oracle.is_claimed(on_wire, frame) else wanted.kernel).append(on_wire)
        ledger = ramp.ledger()
    assert same(outcome.claimed, wanted.claimed)
    assert same(outcome.kernel, wanted.kernel)
    assert wanted.claimed
    assert wanted.kernel
    assert ledger.protected == sum(map(oracle.is_protected, frames))
    assert (ledger.protected > 0) == (ramp.plan.protect is not None)
    assert (ledger.seen, ledger.claimed, ledger.lost) == (len(frames), len(wanted.claimed), 0)


def test_a_dropping_attachment_drops_what_libpcap_says(wire: Wire) -> None:
    frames, kernel = corpus(3, 2000), list[bytes]()
    with wire.b.host:
        guard = offramp.attach(wire.b.name, "not udp port 4321")
    with guard, Tap(wire.b) as tap, Sender(wire.a) as send:
        oracle = Oracle(guard)
        send(frames)
        wanted = Outcome()
        judge(oracle, frames, wanted)

        def settled() -> bool:
            kernel.extend(tap())
            return guard.ledger().seen >= len(frames) and len(kernel) >= len(wanted.kernel)

        assert eventually(settled), guard.ledger()
        ledger = guard.ledger()
    assert same(kernel, wanted.kernel)
    assert (ledger.claimed, ledger.seen, ledger.exact) == (len(wanted.claimed), len(frames), True)


@pytest.mark.filterwarnings("ignore:.*nothing is protected")
def test_bounced_frames_come_back_as_they_were_on_the_wire(wire: Wire) -> None:
    frames = [frame for frame in corpus(4, 600) if len(frame) < 1500]
    with wire.b.host:
        mirror = offramp.attach(wire.b.name, "not tcp", offramp.TX, protect=False)
    with wire.a.host:
        ear = offramp.attach(wire.a.name, "", offramp.PASS, protect=False)  # veth sends back only to who has XDP
    with mirror, ear, Tap(wire.a) as tap:
        oracle = Oracle(mirror)
        with Sender(wire.a) as send:
            send(frames)
        wanted = [frame for frame in frames if oracle.is_claimed(frame, frame) and is_seen_by_taps(frame)]
        if mirror.plan.vlan_metadata:
            with Sender(wire.a, bypass=False) as send, tags_beside(wire.a, 0x8100, 5):
                send(frames)
            on_wire = [(tagged(frame, 0x8100, 5), frame) for frame in frames]
            wanted += [wire for wire, frame in on_wire if oracle.is_claimed(wire, frame) and is_seen_by_taps(wire)]
        back: list[bytes] = []

        def returned() -> bool:
            back.extend(tap())
            return len(back) >= len(wanted)

        assert eventually(returned)
    assert same(back, wanted)


def test_both_queues_are_read(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2)
    hush(wire)
    frames, outcome = corpus(5, 1000), Outcome()
    with wire.b.host:
        ramp = offramp.open(wire.b.name, "not tcp", stall=None)
    with ramp, Tap(wire.b) as tap, Sender(wire.a) as send:
        for cpu in sorted(os.sched_getaffinity(0))[:2]:
            with on_cpu(cpu):
                deliver(frames, send, outcome, ramp, tap)
        oracle, wanted = Oracle(ramp), Outcome()
        judge(oracle, frames, wanted)
        ledger = ramp.ledger()
    rounds = outcome.sent // len(frames)
    assert same(outcome.claimed, wanted.claimed * rounds)
    assert same(outcome.kernel, wanted.kernel * rounds)
    if rounds == 2:
        assert [queue.received for queue in ledger.queues] == [len(wanted.claimed)] * 2


@pytest.mark.filterwarnings("ignore:.*nothing is protected")
def test_a_queue_without_a_socket_stays_with_the_kernel(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2)
    hush(wire)
    frames, outcome = corpus(5, 400), Outcome()
    with wire.b.host, pytest.warns(OfframpWarning, match="2 receive queues: matching packets on the others stay"):
        ramp = offramp.open(wire.b.name, "", queues=[1], protect=False, stall=None)
    with ramp, Tap(wire.b) as tap, Sender(wire.a) as send:
        with on_cpu(0):
            deliver(frames, send, outcome, ramp, tap)
        assert outcome.claimed == []
        assert same(outcome.kernel, filter(is_seen_by_taps, frames))
        assert ramp.ledger().redirect_failed == len(frames)


# -- what stays with the kernel ----------------------------------------------------------------------------------------


def test_the_host_can_be_reached_while_everything_else_is_claimed(lab: Lab) -> None:
    """Neighbours resolve (ARP, ND), DHCP and SSH arrive: the kernel answers. Pings and other ports do not get there."""
    a, b = lab.host("a"), lab.host("b")
    wire = lab.wire(a, b)
    with b:
        ssh, web = (socket.create_server(("", port)) for port in (SSH, 80))
        dhcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        dhcp.bind(("", 67))
        ramp = offramp.open(wire.b.name, "", stall=None)
    with ssh, web, dhcp, ramp:
        with a:
            with socket.create_connection((wire.b.ip, SSH), timeout=10):
                pass
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"discover", (wire.b.ip, 67))
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
                client.sendto(b"to a neighbour", (wire.b.ip6, 9))
            with pytest.raises(TimeoutError):
                socket.create_connection((wire.b.ip, 80), timeout=0.2)
        dhcp.settimeout(10)
        assert dhcp.recv(100) == b"discover"
        seen = claimed_by(ramp, lambda frames: any(b"to a neighbour" in frame for frame in frames))
        assert {int.from_bytes(frame[36:38]) for frame in seen if frame[23] == 6} == {80}
        assert not any(frame[12:14] == b"\x08\x06" for frame in seen)
        assert ramp.ledger().protected >= 6  # ARP, ND, DHCP, and three of TCP to port 22
        with a.netlink() as route:
            states = {neighbour.get_attr("NDA_DST"): neighbour["state"] for neighbour in route.get_neighbours()}
    reachable = 0x02  # NUD_REACHABLE
    assert states[wire.b.ip] == states[wire.b.ip6] == reachable


def claimed_by(ramp: Ramp, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """What the ramp receives until it is enough."""
    outcome: list[bytes] = []

    def is_enough() -> bool:
        while (batch := ramp.rx(timeout=0)) is not None:
            outcome.extend(map(bytes, batch))
        return enough(outcome)

    assert eventually(is_enough)
    return outcome


def test_nothing_is_protected_if_so_wanted(wire: Wire) -> None:
    frames, outcome = corpus(6, 1000), Outcome()
    with wire.b.host, pytest.warns(OfframpWarning, match="what keeps a link, a route or a login alive is diverted too"):
        ramp = offramp.open(wire.b.name, "", protect=False, stall=None)
    with ramp, Tap(wire.b) as tap, Sender(wire.a) as send:
        deliver(frames, send, outcome, ramp, tap)
    assert same(outcome.claimed, frames)
    assert outcome.kernel == []


@pytest.mark.filterwarnings("ignore:.*nothing is protected")
def test_views_outlive_the_ramp(wire: Wire) -> None:
    frames = corpus(7, 100)
    with wire.b.host:
        ramp = offramp.open(wire.b.name, "", protect=False, stall=None)
    with ramp, Sender(wire.a) as send:
        send(frames)
        assert eventually(lambda: ramp.ledger().total("waiting") == len(frames))
        batch = ramp.rx(timeout=0)
        assert batch is not None
        views, lengths = list(batch), batch.length
    del batch
    assert list(map(bytes, views)) == frames
    assert lengths.tolist() == [len(frame) for frame in frames]


# -- generic mode ------------------------------------------------------------------------------------------------------


def test_generic_mode_says_so_switches_merging_off_and_tells_the_truth(lab: Lab) -> None:
    """On the loopback interface, which has no native XDP; what is sent there arrives there."""
    host = lab.host("a")
    lo = Interface("lo", 1, "00:00:00:00:00:00", "127.0.0.1", "::1", host)
    lo.set_mtu(1504)  # room for a tag
    host.sysctl("net.ipv6.conf.lo.disable_ipv6", 1)
    lo.gro(True)
    with host:
        with pytest.raises(NotSupported, match=r"^lo \(no driver\) has no native XDP"):
            offramp.open("lo", "udp", require="native")
        with pytest.raises(NotSupported, match="has no native XDP"):
            offramp.attach("lo", "udp", mode="native")
        with pytest.warns(OfframpWarning) as told:
            ramp = offramp.open("lo", "not tcp", stall=None)
    generic, gro = (str(warning.message) for warning in told)
    assert generic.startswith("lo: generic mode, because lo has no native XDP")
    assert "iptables" in generic
    assert gro.startswith("lo: GRO is off while this is in force")
    assert [change.knob for change in ramp.plan.changes] == ["feature.rx-gro"]
    frames, outcome, wanted = corpus(8, 1500), Outcome(), Outcome()
    with ramp, Tap(lo) as tap, Sender(lo) as send:
        assert ramp.mode == "generic"
        assert not ramp.zero_copy
        deliver(frames, send, outcome, ramp, tap)
        judge(Oracle(ramp), frames, wanted)
        ledger = ramp.ledger()
    assert same(outcome.claimed, wanted.claimed)
    assert same(outcome.kernel, wanted.kernel)
    assert (ledger.seen, ledger.claimed, ledger.lost) == (1500, len(wanted.claimed), 0)


def test_generic_mode_that_was_asked_for(wire: Wire) -> None:
    """On a veth: tags out of band cannot be seen there, which is said."""
    wire.b.rx_vlan_offload(False)
    with wire.b.host, pytest.warns(OfframpWarning) as told:
        ramp = offramp.open(wire.b.name, "udp", mode="generic", stall=None)
    mode, tags = (str(warning.message) for warning in told)
    assert "generic mode, as asked" in mode
    assert "ethtool -K PEER txvlan off" in tags
    frames, outcome, wanted = corpus(9, 1000), Outcome(), Outcome()
    with ramp, Tap(wire.b) as tap, Sender(wire.a) as send:
        deliver(frames, send, outcome, ramp, tap)
        judge(Oracle(ramp), frames, wanted)
    assert same(outcome.claimed, wanted.claimed)
    assert same(outcome.kernel, wanted.kernel)


def test_generic_mode_above_another_interface_is_refused(wire: Wire) -> None:
    """There the stack has taken tags out of the frame, and a tagged one would be claimed as untagged."""
    with wire.b.host.netlink() as route:
        route.link("add", ifname="m0", kind="macvlan", link=wire.b.ifindex, macvlan_mode="passthru")
        (index,) = route.link_lookup(ifname="m0")
        route.link("set", index=index, state="up")
    with wire.b.host, pytest.raises(InterfaceError, match="m0, a macvlan, in generic mode: VLAN tags are removed"):
        offramp.open("m0", "udp")
