# SPDX-License-Identifier: Apache-2.0
"""An interface that is in use: what all ramps of this process have in common there.

    Interface ─┬─ Changes          what was changed of it, its journal, and the lock against other processes
               ├─ SharedProgram    one XDP program, made of all ramps' sections
               └─ Use ...          whoever needs it: it ends with the last of them

Everything here needs `process.alone`: another thread finds an interface complete, or not at all. Only a signal handler
may come in between.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from offramp import journal, nic
from offramp.errors import InterfaceGone, NoSuchInterface, OfframpError
from offramp.immutable import immutable
from offramp.nic.live import open_nic
from offramp.planner import Beside
from offramp.ramp.changes import Changes, hidden_queues
from offramp.ramp.shared import SharedProgram
from offramp.syscalls.netns import inside, namespace_file

if TYPE_CHECKING:
    from offramp.facts.capabilities import Capabilities
    from offramp.facts.knobs import Nic
    from offramp.ramp.section import Section

__all__ = ["Interface", "Seen", "Use", "look"]

_in_use: list[Interface] = []


@immutable
class Seen:
    """What a plan is made from."""

    link: nic.Link  # without our own program
    able: Capabilities
    beside: Beside
    left: tuple[str, ...] = ()  # left by earlier processes; given back before anything else


def look(name: str) -> Seen:
    """What a plan for a new ramp would be made from. Changes nothing. Errors: NoSuchInterface."""
    device = open_nic(name)
    if known := _known(device):
        return known.look()
    link = nic.read(name)
    left: list[journal.Listed] = []
    with suppress(OfframpError):  # without permission to look, nothing will be changed either
        left = journal.left_behind(device.identity)
    return Seen(link, device.capabilities(), Beside(), tuple(map(str, left)))


class Use:
    """Somebody who needs an interface, from before it exists until `close`.

    If something could not be given back at its end, `worry` is told, in words.
    """

    def __init__(self, worry: Callable[[list[str]], None] = lambda trouble: None) -> None:
        self._worry = worry

    def of(self, name: str) -> Interface:
        """Find the interface, or make it. Errors: NoSuchInterface, InterfaceBusy."""
        device = open_nic(name)
        if (known := _known(device)) is None:
            return Interface(device, self)
        self.share(known)
        return known

    def share(self, interface: Interface) -> None:
        """Use this interface, which somebody else uses."""
        if self not in interface.users:
            interface.users.append(self)

    def close(self) -> None:
        """End what it used, if nobody else uses it. Doing it again does nothing."""
        for interface in tuple(_in_use):
            if self in interface.users:
                interface.users.remove(self)
            if not interface.users:  # or if ending was cut short
                self._worry(interface.end())

    def abandon(self) -> None:
        """In a forked child."""
        for interface in self._used():
            interface.abandon()

    def leave(self) -> None:
        """At the end of the process."""
        for interface in self._used():
            interface.leave()

    def _used(self) -> list[Interface]:
        return [interface for interface in _in_use if self in interface.users]


class Interface:
    """See the module. Made by `Use.of`."""

    def __init__(self, device: Nic, user: Use) -> None:
        """Errors: InterfaceBusy if another process has it."""
        self.nic = device
        self.users = [user]
        self._news: tuple[str, ...] = ()
        self.tagless = False  # no tagged frame gets here, so it does not matter who strips tags
        self._namespace = namespace_file()
        self.program = SharedProgram(device.identity.ifindex, self.here)
        self.changes = Changes(device, self.here)
        _in_use.append(self)
        try:
            self.changes.begin()
        except BaseException:
            self.end()
            raise
        self._news = self.changes.found

    def here(self) -> AbstractContextManager[None]:
        """Move this thread to where the interface was, for a while. The interface may be elsewhere now."""
        return inside(self._namespace.fileno())

    def news(self) -> tuple[str, ...]:
        """What an earlier process had left on it. Told only once."""
        news, self._news = self._news, ()
        return news

    def look(self, but: Section | None = None) -> Seen:
        """What a plan is made from, for one more ramp, or for one that takes the place of `but`."""
        its = self.nic.identity
        try:
            link = self.changes.as_found(nic.read(its.mark or its.ifindex, but=self.program.id))
        except NoSuchInterface:
            raise InterfaceGone(its.name, reason="it was removed, or moved to another network namespace") from None
        if self.tagless:
            link = replace(link, rx_vlan_offload=None)
        return Seen(link, self.nic.capabilities(), self.beside(but))

    def is_there(self) -> bool:
        """Whether it is still the one that we know. Another may have its name and its number."""
        try:
            self.nic.get("mtu")
        except InterfaceGone:
            return False
        return not self.program.attached or self.program.link.info().ifindex != 0

    def queues(self) -> int:
        """Its receive queues in use; 0: its driver does not say. Errors: KernelError, InterfaceGone."""
        with self.here():
            channels = self.nic.get("channels")
        return int(channels["rx"] + channels["combined"]) if channels else 0

    def beside(self, but: Section | None = None) -> Beside:
        """What the other ramps have."""
        others = self.others(but)
        queues = frozenset(queue for section in others for queue in section.queues)
        mode = self.program.link.mode if others else None
        return Beside(queues, self.changes.table_before, hidden_queues(others), mode)

    def others(self, but: Section | None) -> list[Section]:
        return [section for section in self.program.sections.values() if section is not but]

    def give_back(self, section: Section, user: Use) -> list[str]:
        """Give back what is changed for this section alone. Returns what failed, in words. Doing it
        again does nothing.
        """
        return self.changes.give_back(section, self.others(section), last=self.users == [user])

    def end(self) -> list[str]:
        """End it, when it has no users. Returns what could not be given back, in words. Doing it again does nothing."""
        self.program.abandon()
        trouble = self.changes.close()
        self.abandon()
        return trouble

    def abandon(self) -> None:
        """In a forked child: drop the descriptors, which belong to the parent, and touch nothing else."""
        self.program.abandon()
        self._namespace.close()
        with suppress(ValueError):
            _in_use.remove(self)

    def leave(self) -> None:
        """At the end of the process: the kernel closes the link."""
        self.program.leave()
        self._namespace.close()


def _known(device: Nic) -> Interface | None:
    for known in _in_use:
        same = known.nic.identity
        if same.netns == device.identity.netns and same.same_device(device.identity) and known.is_there():
            return known
    return None
