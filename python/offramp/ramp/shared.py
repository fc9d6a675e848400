# SPDX-License-Identifier: Apache-2.0
"""The XDP program of an interface: one, for all ramps of this process there.

    sections    the sections to ask: one of each owner, in the order in which they came
    made        the programs that may run; the kernel knows which one does

Each section checks its own match, and the first that matches decides. When sections change, `_settle` makes another
program and puts it in the place of the running one, in one step: packets of the other sections notice nothing.

An interrupt may come before or after any step. So nothing is remembered about which program runs: the kernel is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from offramp import nic
from offramp.bpf import GracePeriod, Program, Scope, XdpLink, bind
from offramp.errors import InterfaceGone, OfframpError
from offramp.llvm.programs import xdp
from offramp.syscalls.kept import Kept

if TYPE_CHECKING:
    from offramp.bpf import XdpMode
    from offramp.ramp.section import Section

__all__ = ["Owner", "SharedProgram"]


class Owner(Protocol):
    """Whoever a section belongs to."""

    def detached(self, text: str) -> None:
        """Called when there is no program any more."""


@dataclass(frozen=True, eq=False)
class _Made:
    id: int
    program: Program
    sections: tuple[Section, ...]


class SharedProgram:
    """See the module. It is attached while there are sections. Needs `process.alone`."""

    def __init__(self, ifindex: int, here: Callable[[], AbstractContextManager[None]]) -> None:
        self.sections: dict[Owner, Section] = {}
        self.link = XdpLink(Kept(), "native", ifindex)  # closed: there is none yet
        self._ifindex = ifindex
        self._here = here
        self._made: list[_Made] = []

    @property
    def attached(self) -> bool:
        return not self.link.closed

    @property
    def id(self) -> int:
        """The number of the running program, as `ip link` shows it; 0: none."""
        return self.link.info().program_id if self.attached else 0

    def join(self, owner: Owner, section: Section, mode: XdpMode) -> None:
        """From now on this section is asked, too. Whatever happens, call `remove` afterwards."""
        if not self.attached:
            self.link = XdpLink(Kept(), mode, self._ifindex)
        self.sections[owner] = section
        self._settle()

    def exchange(self, owner: Owner, section: Section) -> None:
        """From one packet to the next, ask another section for this owner. Returns when no packet is in the old one.

        After an error `sections` has the one that is asked: the old one, unless waiting for its last packet has failed.
        """
        before = self.sections[owner]
        self.sections[owner] = section
        try:
            self._settle()
        finally:
            if section not in self._asked:
                self.sections[owner] = before

    def remove(self, owner: Owner) -> None:
        """Stop asking this owner's section. Returns when no packet is in it. Doing it again does nothing.

        Errors: KernelError and others, if no program could be made without it; then there is no program for anybody.
        """
        self.sections.pop(owner, None)
        if not self.sections or not self.attached:
            self._end()
        elif self._is_gone():
            self._end("the interface is not here any more")
        else:
            self._go_on_without()

    def abandon(self) -> None:
        """In a forked child."""
        self.link.close()
        self._forget(self._made)

    def leave(self) -> None:
        """At the end of the process: the kernel detaches it."""
        self.link.leave()
        for made in self._made:
            made.program.leave()

    @property
    def _running(self) -> _Made | None:
        identity = self.id
        return next((made for made in self._made if made.id == identity), None)

    @property
    def _asked(self) -> tuple[Section, ...]:
        running = self._running
        return running.sections if running is not None else ()

    def _settle(self) -> None:
        """Have a program run that asks the sections. Errors: the program that ran still runs."""
        with self._here(), GracePeriod() as grace:
            if self._asked != tuple(self.sections.values()):
                self._put(self._make(tuple(self.sections.values())))
            running = self._running
            if overtaken := [made for made in self._made if made is not running]:
                grace.wait()
                self._forget(overtaken)

    def _make(self, sections: tuple[Section, ...]) -> _Made:
        program = self._program(sections)
        made = _Made(program.id, program, sections)
        self._made.append(made)
        return made

    def _put(self, made: _Made) -> None:
        """In the place of the one that runs, or as the first."""
        running = self._running
        try:
            if running is None:
                self.link.create(made.program)
            else:
                self.link.update(made.program, running.program)
        except OfframpError:
            self._forget([made])
            raise

    def _go_on_without(self) -> None:
        """Settle; once more if that fails, as an interrupt may be an exception of any kind."""
        with suppress(Exception):
            self._settle()
            return
        try:
            self._settle()
        except Exception as error:
            self._end(f"no program could be made without a ramp that closed: {error}")
            raise

    def _forget(self, overtaken: Sequence[_Made]) -> None:
        """They do not run, and never will again."""
        for made in tuple(overtaken):
            made.program.close()
            self._made.remove(made)

    def _end(self, reason: str = "") -> None:
        """Detach it. No packet is in it then: drivers see to that. In generic mode nobody does, so we wait."""
        was_generic = self.attached and self.link.mode == "generic"
        self.link.close()
        self._forget(self._made)  # which gives descriptors back that waiting needs
        if was_generic:
            with suppress(OfframpError), GracePeriod() as grace:  # else the last count may lack a packet
                grace.wait()
        if reason:
            for owner in tuple(self.sections):
                owner.detached(f"XDP is detached: {reason}")

    def _is_gone(self) -> bool:
        """Whether it was removed or moved to another namespace; then sockets are unbound, and no program can be made
        anew.
        """
        try:
            with self._here():
                nic.carrier(self._ifindex)
        except InterfaceGone:
            return True
        return not self.link.info().ifindex

    def _program(self, sections: tuple[Section, ...]) -> Program:
        compiled = xdp(*(section.spec for section in sections))
        bound = self._ifindex if sections[0].spec.vlan_metadata else None
        verdicts = {verdict.name.lower() for section in sections for verdict in section.spec.verdicts}
        name = f"offramp_{verdicts.pop() if len(verdicts) == 1 else 'shared'}"
        source = "; ".join(section.source for section in sections)
        with bind(compiled, *(Scope(section.maps, section.state) for section in sections)) as maps:
            return Program.load(compiled, name=name, maps=maps, source=source, ifindex=bound)
