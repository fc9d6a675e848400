# SPDX-License-Identifier: Apache-2.0
"""What somebody takes from under a ramp on a real NIC: told once, counted by its cause, and left alone at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import offramp
from offramp.errors import InterfaceError, InterfaceGone, KernelError
from offramp.nic.live import LiveNic
from offramp.ramp.attachment import Attachment
from offramp.ramp.events import Event, EventKind
from offramp.steering import equal
from offramp.testing import Wire
from tests.nic.functions import PATIENCE
from tests.nic.functions import opened as opened_on_vf
from tests.nic.test_hidden import opened, send_all
from tests.rigs.waiting import eventually

pytestmark = [
    pytest.mark.usefixtures("state"),
    pytest.mark.filterwarnings("ignore::offramp.OfframpWarning"),
]


def told(ramp: Attachment, kind: EventKind) -> list[Event]:
    """The events of a kind, once there is one."""
    found: list[Event] = []

    def come() -> bool:
        found.extend(event for event in ramp.events if event.kind is kind)
        return bool(found)

    assert eventually(come), kind
    return found


@pytest.mark.nic("igb", "virtio-net")
def test_an_rss_table_that_is_rewritten(wire: Wire, device: LiveNic) -> None:
    """The flow comes to other queues, where the program counts it and passes it on."""
    with wire.b.host:
        before = device.get("rss.table")
    with opened(wire, layout="hidden-queue") as ramp:
        with wire.b.host:
            device.set("rss.table", equal(len(before), 1))
        (event,) = told(ramp, EventKind.SETTING_CHANGED)
        assert event.details["knob"] == "rss.table"
        send_all(wire)
        assert eventually(lambda: ramp.ledger().missed_by_nic > 0)
        ramp.check()
    with wire.b.host:
        assert device.get("rss.table") == equal(len(before), 1), "somebody else's, so it is left alone"
        device.set("rss.table", before)
    wire.b.wait_for_carrier(PATIENCE)


def refused(act: Callable[[], object]) -> None:
    with pytest.raises((KernelError, InterfaceError)):
        act()


@pytest.mark.nic("igb", "virtio-net")
def test_fewer_channels_than_are_read_are_refused(wire: Wire, device: LiveNic) -> None:
    """By the kernel, as long as a socket is bound to a queue that would go; and the flow goes on."""
    with wire.b.host:
        channels = device.get("channels")
    if channels["combined"] < 2:
        pytest.skip("it has one channel")
    with opened(wire, layout="in-driver") as ramp:
        with wire.b.host:
            refused(lambda: device.set("channels", channels | {"combined": 1}))
        ramp.check()


@pytest.mark.nic("igb")  # virtio-net does not show its RSS table
def test_fewer_channels_under_an_attachment_are_told(wire: Wire, device: LiveNic) -> None:
    with wire.b.host, offramp.attach(wire.b.name, "udp dst port 4321") as guard:
        channels = device.get("channels")
        if channels["combined"] < 2:
            pytest.skip("it has one channel with XDP")
        table = device.get("rss.table")
        device.set("rss.table", equal(len(table), 1))  # else the kernel refuses what the table still names
        device.set("channels", channels | {"combined": 1})
        (event, *_) = told(guard, EventKind.QUEUES_CHANGED)
        assert event.details == {"queues": 1}
        guard.check()
        device.set("channels", channels)
        device.set("rss.table", table)
        wire.b.wait_for_carrier(PATIENCE)


@pytest.mark.nic("igb-iommu", kernels="6.12")
def test_a_vf_that_is_taken_away(wire: Wire, device: LiveNic) -> None:
    """Its reader is told, and what is left is given back."""
    with opened_on_vf(wire) as ramp:
        with wire.b.host:
            device.set("vf.count", 0)
        with pytest.raises(InterfaceGone):
            next(iter(ramp))
        kinds: set[EventKind] = set()

        def all_told() -> bool:
            kinds.update(event.kind for event in ramp.events)
            return {EventKind.GONE, EventKind.SETTING_CHANGED} <= kinds

        assert eventually(all_told), kinds
    with wire.b.host:
        assert device.get("vf.count") == 0
