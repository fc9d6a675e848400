# SPDX-License-Identifier: Apache-2.0
"""The hidden queue on real drivers: the flow arrives only there; nobody else notices."""

from __future__ import annotations

import socket
import struct
import time
import warnings
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

import offramp
from offramp.bpf import Program, XdpLink
from offramp.errors import NotSupported
from offramp.facts.capabilities import Capabilities, Ntuple
from offramp.nic import rss
from offramp.nic.live import LiveNic, open_nic
from offramp.nic.stats import queue_packets, statistics
from offramp.ramp.ramp import Ramp
from offramp.steering import hiding, weighted
from offramp.testing import Wire
from tests.nic.bystanders import bystanders
from tests.nic.functions import PATIENCE
from tests.rigs.leftovers import has_xdp

pytestmark = pytest.mark.usefixtures("state")

SPORT, PORT = 1024, 4321
COUNT = 400  # packets of the flow
GAP = 0.003  # seconds
HIDDEN = 1  # the last of two queues
KNOBS = ("rss.table", "channels", "mtu", "up", "feature.rx-vlan-hw-parse", "feature.rx-gro")


def match(wire: Wire, protocol: str = "udp") -> str:
    """All that any NIC hashes is fixed."""
    ends = f"src host {wire.a.ip} and dst host {wire.b.ip}"
    return f"{protocol} and {ends} and src port {SPORT} and dst port {PORT}"


def opened(wire: Wire, expression: str = "", **options: object) -> Ramp:
    """Warnings are told by `ramp.plan.warnings`."""
    with wire.b.host, warnings.catch_warnings():
        warnings.simplefilter("ignore", offramp.OfframpWarning)
        return offramp.open(wire.b.name, expression or match(wire), **options)  # type: ignore[arg-type]


def as_it_is(wire: Wire) -> dict[str, object]:
    with wire.b.host:
        device = open_nic(wire.b.name)
        return {knob: device.get(knob) for knob in KNOBS} | {"xdp": has_xdp(wire.b)}


@contextmanager
def given_back(wire: Wire) -> Iterator[None]:
    before = as_it_is(wire)
    yield
    wire.b.wait_for_carrier(PATIENCE)
    assert as_it_is(wire) == before


@contextmanager
def sender(wire: Wire) -> Iterator[socket.socket]:
    """Of the flow."""
    with wire.a.host:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with found:
        found.bind((wire.a.ip, SPORT))
        found.connect((wire.b.ip, PORT))
        yield found


def send_all(wire: Wire) -> None:
    with sender(wire) as flow:
        for number in range(COUNT):
            try:
                flow.send(struct.pack("!I", number))
            except ConnectionRefusedError:  # what the kernel said of the one before
                flow.send(struct.pack("!I", number))
            time.sleep(GAP)


def received(ramp: Ramp, count: int) -> set[int]:
    """The numbers of so many packets of the flow, or as many as came."""
    numbers: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while len(numbers) < count and time.monotonic() < deadline:
        batch = ramp.rx(0.5)
        if batch is not None:
            deadline = time.monotonic() + PATIENCE
            numbers |= {struct.unpack_from("!I", batch[row], 14 + 20 + 8)[0] for row in range(len(batch))}
    return numbers


def on_queues(wire: Wire) -> dict[int, int]:
    with wire.b.host:
        return queue_packets(statistics(wire.b.name))


def nothing_is_lost(wire: Wire, ramp: Ramp, ours: Collection[int] = range(COUNT)) -> None:
    """Neither of the packets whose numbers are ours, which come to us, nor of the others, which the kernel has."""
    with ThreadPoolExecutor(2) as pool, bystanders(wire) as others:
        ramp.rx(0)  # the reader is awake: until it looks again within a second, what comes is not passed on
        sending, watching = pool.submit(send_all, wire), pool.submit(others.undisturbed, 20)
        numbers = received(ramp, len(ours))
        sending.result()
        watching.result()
    assert numbers == set(ours)


def hidden_queue(wire: Wire, **options: object) -> None:
    with given_back(wire):
        with opened(wire, match(wire), layout="hidden-queue", **options) as ramp:
            assert (ramp.plan.layout, ramp.plan.hidden_queue, ramp.plan.rules) == ("hidden-queue", HIDDEN, ())
            with wire.b.host:
                table = open_nic(wire.b.name).get("rss.table")
            assert [queue == HIDDEN for queue in table] == [place in ramp.plan.buckets for place in range(len(table))]
            before = on_queues(wire)
            nothing_is_lost(wire, ramp)
            ledger, after = ramp.ledger(), on_queues(wire)
            print(ramp.plan, ledger, before, after, sep="\n")
            assert (ledger.claimed, ledger.missed_by_nic, ledger.exact) == (COUNT, 0, True)
            if before:  # virtio-net has no counters by queue
                assert COUNT <= after[HIDDEN] - before[HIDDEN] < 2 * COUNT
                assert after[0] - before[0] > COUNT
        with bystanders(wire) as others:
            wire.b.wait_for_carrier(PATIENCE)
            others.undisturbed(1)


@pytest.mark.nic("igb", "virtio-net", kernels=">=6.1")
def test_by_rss_bucket_with_copy(wire: Wire) -> None:
    hidden_queue(wire, copying="copy")


@pytest.mark.nic("igb", "virtio-net-dma", kernels=">=6.14")
def test_by_rss_bucket_with_zero_copy(wire: Wire) -> None:
    hidden_queue(wire, require="zero-copy")


@pytest.mark.nic("igb")
def test_another_match_in_place(wire: Wire) -> None:
    """The same entries bring it there, and the kernel gets the rest of the queue. Another flow is refused."""
    with given_back(wire), opened(wire, layout="hidden-queue") as ramp:
        brought_by = ramp.plan.buckets
        ramp.replace(f"{match(wire)} and udp[8:4] & 1 = 1")
        with pytest.raises(NotSupported, match="other entries of the RSS table bring its packets"):
            ramp.replace(match(wire).replace(wire.a.ip, "10.77.0.9"))
        assert (ramp.plan.layout, ramp.plan.buckets) == ("hidden-queue", brought_by)
        nothing_is_lost(wire, ramp, ours=range(1, COUNT, 2))
        assert (ramp.ledger().claimed, ramp.ledger().missed_by_nic) == (COUNT // 2, 0)


@pytest.mark.nic("e1000e", kernels=">=6.1")
def test_one_queue_in_generic_mode(wire: Wire) -> None:
    """There is no RSS table: a hidden queue is refused, and left to itself the plan says why it is in-driver."""
    with given_back(wire):
        with pytest.raises(NotSupported, match=r"a hidden queue on .*"):
            opened(wire, layout="hidden-queue")
        with opened(wire) as ramp:
            assert (ramp.plan.layout, ramp.mode) == ("in-driver", "generic")
            nothing_is_lost(wire, ramp)
            assert ramp.ledger().exact


@pytest.mark.nic("igb")
def test_the_reset_of_the_link_is_waited_for_and_told(wire: Wire) -> None:
    with opened(wire) as ramp:
        wire.b.wait_for_carrier(0.0)
        assert ramp.plan.layout == "hidden-queue"
        assert any("no carrier for" in warning for warning in ramp.plan.warnings), ramp.plan


@pytest.mark.nic("igb", "virtio-net")
def test_what_attaching_changes_is_planned_anew(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that writes another RSS table for XDP: what is hidden is hidden in that one, and that one given back."""
    with wire.b.host:
        device = open_nic(wire.b.name)
        before = device.get("rss.table")
        other = weighted(len(before), [1, 2])
        create = XdpLink.create

        def creating(link: XdpLink, program: Program) -> None:
            create(link, program)
            device.set("rss.table", other)

        monkeypatch.setattr(XdpLink, "create", creating)
    try:
        with opened(wire, layout="hidden-queue") as ramp, wire.b.host:
            assert device.get("rss.table") == hiding(other, {HIDDEN: ramp.plan.buckets})
        assert wire.b.host.call(device.get, "rss.table") == other
    finally:
        wire.b.host.call(device.set, "rss.table", before)


@contextmanager
def running_flow(wire: Wire) -> Iterator[None]:
    """Until the end, whatever happens."""
    with ThreadPoolExecutor(1) as pool:
        ended = False

        def send() -> None:
            with sender(wire) as flow:
                while not ended:
                    with suppress(OSError):  # the kernel has said that nobody listens, or the link is down
                        flow.send(bytes(4))
                    time.sleep(GAP)

        sending = pool.submit(send)
        try:
            yield
        finally:
            ended = True
            sending.result()


@pytest.mark.nic("igb", "virtio-net")
def test_a_running_flow_is_observed(wire: Wire) -> None:
    with given_back(wire), running_flow(wire), opened(wire, observe=10) as ramp:
        print(ramp.plan.observed)
        assert "on the hidden queue, none on others" in ramp.plan.observed
        assert ramp.rx(PATIENCE) is not None


@pytest.mark.nic("igb")
def test_an_entry_without_effect_is_undone_and_another_way_taken(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key that is not the NIC's, the entry is another one: taken, and the flow arrives elsewhere."""
    key = rss.kernel_key()
    monkeypatch.setattr(rss, "kernel_key", lambda: bytes(byte ^ 0x5A for byte in key))
    with given_back(wire), running_flow(wire):
        with wire.b.host, pytest.warns(offramp.OfframpWarning, match="were taken, but .* none on the hidden"):
            ramp = offramp.open(wire.b.name, match(wire), observe=2)
        with ramp:
            assert ramp.plan.layout == "in-driver"
            assert "entries of the RSS table that lead to a hidden queue were taken, but" in ramp.plan.why
            with wire.b.host:
                table = open_nic(wire.b.name).get("rss.table")
            assert set(table) == {0, 1}
            assert ramp.rx(PATIENCE) is not None


@pytest.mark.nic("igb")
def test_a_silent_flow_that_went_elsewhere_is_told_at_the_end(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rss.kernel_key()
    monkeypatch.setattr(rss, "kernel_key", lambda: bytes(byte ^ 0x5A for byte in key))
    ramp = opened(wire, observe=0.2)
    assert "it is not known whether" in ramp.plan.observed
    with running_flow(wire):
        assert ramp.rx(2.0) is None
    ramp.close()
    (event,) = (event for event in ramp.events if event.kind == "went-elsewhere")
    assert "none on the hidden queue" in event.text


@pytest.mark.nic("igb")
@pytest.mark.parametrize("protocol", ["tcp", "icmp"])
def test_a_probe_shows_where_a_silent_flow_arrives(wire: Wire, protocol: str) -> None:
    """The peer answers a SYN to a closed port with RST, which belongs to the flow; an echo request with a reply."""
    wanted = match(wire, "tcp")
    if protocol == "icmp":
        wanted = f"icmp and src host {wire.a.ip} and dst host {wire.b.ip}"
    with given_back(wire), opened(wire, wanted, layout="hidden-queue", probe=True, observe=10) as ramp:
        print(ramp.plan.observed)
        assert "on the hidden queue, none on others" in ramp.plan.observed


@pytest.mark.nic("igb")
def test_rules_that_the_driver_refuses_are_planned_around(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told that igb takes rules, the plan has them; the driver refuses; the RSS table does it."""
    real = LiveNic.capabilities

    def boasting(nic: LiveNic) -> Capabilities:
        return replace(real(nic), ntuple=Ntuple(supported=True, on=True, needs_feature=False, slots=16))

    monkeypatch.setattr(LiveNic, "capabilities", boasting)
    with given_back(wire):
        with wire.b.host, pytest.warns(offramp.OfframpWarning, match="rule"):
            ramp = offramp.open(wire.b.name, match(wire))
        with ramp, running_flow(wire):
            assert (ramp.plan.layout, ramp.plan.rules) == ("hidden-queue", ())
            assert ramp.plan.buckets
            assert ramp.rx(PATIENCE) is not None


@pytest.mark.nic("igb")
def test_n_tuple_rules_are_refused_and_the_reason_named(wire: Wire) -> None:
    """A port alone is no bucket: without rules it is in-driver, or an error if a hidden queue was asked for."""
    with given_back(wire):
        with pytest.raises(NotSupported, match="its n-tuple rules are off and cannot be switched on"):
            opened(wire, f"udp dst port {PORT}", layout="hidden-queue")
        with opened(wire, f"udp dst port {PORT}") as ramp:
            assert ramp.plan.layout == "in-driver"
            assert "n-tuple rules are off" in ramp.plan.why
