# SPDX-License-Identifier: Apache-2.0
"""Changes to an interface of the lab, and the processes that make them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from offramp.journal import transaction
from offramp.nic.live import LiveNic, open_nic
from offramp.testing import Host, Interface
from tests.rigs.waiting import eventually

__all__ = [
    "KNOBS",
    "STEPS",
    "as_before",
    "change_and_wait",
    "changed",
    "children",
    "ended",
    "guardian_of",
    "kill",
    "knobs",
    "marks",
    "name_of",
    "opened",
]

STEPS = (("mtu", 2000), ("feature.rx-gro", True), ("mtu", 3000), ("up", False), ("mtu", 4000))
KNOBS = {"mtu": 1500, "feature.rx-gro": False, "up": True}


def knobs(interface: Interface) -> dict[str, object]:
    with interface.host:
        nic = opened(interface)
        return {knob: nic.get(knob) for knob in KNOBS}


def as_before(interface: Interface) -> bool:
    return knobs(interface) == KNOBS


def children(pid: int | str = "self") -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def guardian_of(pid: int) -> int:
    """The guardian of a process, once it is there."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [child for child in children(pid) if name_of(child) == "offramp-guard"]
        return bool(found)

    assert eventually(look, 10.0)
    return found[0]


def name_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def ended(pid: int) -> bool:
    """A zombie has ended, too: init may be in no hurry."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def opened(interface: Interface) -> LiveNic:
    """The interface, if it is the lab's. In the wrong namespace a test would change this machine's own of that name."""
    nic = open_nic(interface.name)
    assert (nic.identity.mac, nic.identity.driver) == (interface.mac, "veth"), "not the lab's interface"
    return nic


def marks(host: Host) -> list[str]:
    """The marks that interfaces there bear."""
    return re.findall(r"altname (offramp\S+)", host.run(["ip", "link", "show"]).stdout)


def change_and_wait(interface: Interface) -> Callable[[], None]:
    def work() -> None:
        with transaction(opened(interface)) as change:
            for knob, value in STEPS:
                change.set(knob, value)
            signal.pause()

    return work


def changed(interface: Interface) -> Callable[[], bool]:
    return lambda: knobs(interface)["mtu"] == STEPS[-1][1]


def kill(pid: int, number: int = signal.SIGKILL) -> float:
    """And the time."""
    os.kill(pid, number)
    return time.monotonic()
