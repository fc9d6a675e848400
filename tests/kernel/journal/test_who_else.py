# SPDX-License-Identifier: Apache-2.0
"""Somebody does something to the interface at any step of opening, replacing, closing and restoring.

The steps are those where Python may run a signal handler: tests/rigs/interrupts.py. Whatever happens, each interface
that is there at the end has the settings that it had, nobody bears a mark, and nothing of ours is left.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import offramp
from offramp.errors import OfframpError
from offramp.journal import restore, transaction
from offramp.journal.store import Store
from offramp.nic.live import open_nic
from offramp.syscalls import netlink
from offramp.testing import Host, Lab
from tests.kernel.journal.changes import marks
from tests.rigs.interrupts import at, count, sample

pytestmark = pytest.mark.speed  # it would take long in a slow guest

IFNAME = 3
KNOBS = ("feature.rx-gro", "feature.rx-vlan-hw-parse", "mtu")
BATCH = """
link del one
link add one index 70 address 02:00:00:00:07:00 type veth peer name far index 71
link set one up
link set far up
"""


@dataclass
class Scene:
    """Two interfaces, `one` and `two`; both have what offramp switches off."""

    host: Host

    def made(self, name: str, ifindex: int) -> None:
        self.batch(BATCH.replace("link del one\n", "").replace("one", name).replace("far", f"far{name}"), ifindex)

    def batch(self, text: str, ifindex: int = 70) -> None:
        text = text.replace(" 71\n", f" {ifindex + 1}\n").replace(" 70 ", f" {ifindex} ")
        subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)

    def gro(self, name: str) -> None:
        subprocess.run(["ethtool", "-K", name, "gro", "on"], check=True)

    def knobs(self) -> dict[str, list[object]]:
        return {name: [open_nic(name).get(knob) for knob in KNOBS] for name in ("one", "two")}


@pytest.fixture
def scene(lab: Lab) -> Scene:
    scene = Scene(lab.host("a"))
    with scene.host:
        for name, ifindex in (("one", 70), ("two", 80)):
            scene.made(name, ifindex)
            scene.gro(name)
    return scene


def swap(scene: Scene) -> None:
    one, two = open_nic("one").identity.ifindex, open_nic("two").identity.ifindex
    for ifindex, name in ((one, "between"), (two, "one"), (one, "two")):
        netlink.set_link(ifindex, name, netlink.attribute(IFNAME, name.encode() + b"\0"))


def replace_it(scene: Scene) -> None:
    """Another one has its name, number and address, and settings of its own."""
    scene.batch(BATCH.replace("far", "farone"))
    scene.gro("one")


def rename(scene: Scene) -> None:
    ifindex = open_nic("one").identity.ifindex
    for name in ("other", "one"):
        netlink.set_link(ifindex, name, netlink.attribute(IFNAME, name.encode() + b"\0"))


ACTS = (swap, replace_it, rename)


def live() -> None:
    with suppress(OfframpError), offramp.attach("one", "udp dst port 9", mode="generic") as attachment:
        attachment.replace("udp dst port 10")


def leave_and_restore() -> None:
    """As after a crash: what was changed is left, and restored by somebody else."""
    with suppress(OfframpError), transaction(open_nic("one")) as change:
        change.set_all([("mtu", 3000), ("feature.rx-gro", False)])
        change.keep()
    with suppress(OfframpError):
        restore()


WORKS = (live, leave_and_restore)


def at_steps(scene: Scene, state: Path, act: Callable[[Scene], None], work: Callable[[], None], most: int) -> None:
    with scene.host:
        work()
        found = scene.knobs()
        for place in sample(count(work), most):
            where = at(place, lambda: act(scene), work)
            with suppress(OfframpError):
                restore()  # also what could not be given back at once, while the name was nobody's
            assert scene.knobs() == found, where
            assert marks(scene.host) == [], where
            assert Store().names() == [], where
            assert list(state.iterdir()) == [], where


@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("most", [6, pytest.param(2000, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
def test_at_each_step(
    scene: Scene, state: Path, act: Callable[[Scene], None], work: Callable[[], None], most: int
) -> None:
    at_steps(scene, state, act, work, most)
