# SPDX-License-Identifier: Apache-2.0
"""The XDP program of an interface: one, for all ramps of this process there.

    sections    the sections to ask: one of each owner, in the order in which they came
    made        the programs that may run; the kernel knows which one does

Each section checks its own match, and the first that matches decides. When sections change, `_settle` makes another
program and puts it in the place of the running one, in one step: packets of the other sections notice nothing.

A signal handler may come in between, and change the sections, too. It settles what it has changed, and returns to code
whose program is out of date. So the kernel is told which program is to be replaced, and refuses if another one runs by
now. And `_settle` goes on until the running program asks the wanted sections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from offramp import nic
from offramp.bpf import GracePeriod, Holder, Program, XdpLink, bind
from offramp.errors import Closed, InterfaceGone, OfframpError
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
    program: Program
    sections: tuple[Section, ...]


class SharedProgram:
    """See the module. It is attached while there are sections. Needs `process.alone`."""

    def __init__(self, ifindex: int, here: Callable[[], AbstractContextManager[None]]) -> None:
        self.sections: dict[Owner, Section] = {}
        self.link: XdpLink | None = None
        self._ifindex = ifindex
        self._here = here
        self._mode: XdpMode = "native"
        self._made: list[_Made] = []

    @property
    def attached(self) -> bool:
        return self.link is not None and not self.link.closed

    @property
    def id(self) -> int:
        """The number of the running program, as `ip link` shows it; 0: none."""
        try:
            return self.link.info().program_id if self.link is not None else 0
        except Closed:
            return 0

    def join(self, owner: Owner, section: Section, mode: XdpMode) -> None:
        """From now on this section is asked, too. Whatever happens, call `remove` afterwards."""
        if not self.attached:
            self._mode = mode
        self.sections[owner] = section
        self._settle()

    def exchange(self, owner: Owner, section: Section) -> None:
        """From one packet to the next, ask another section for this owner. Returns when no packet is in the old one.

        If that fails, the old one is asked. If it is interrupted, `sections` has the one that is asked. Errors: Closed.
        """
        if (before := self.sections.get(owner)) is None:
            raise Closed("another match in place", reason="its ramp was closed")
        self.sections[owner] = section
        try:
            self._settle()
        except BaseException:
            if self.sections.get(owner) is section and section not in self._asked:
                self.sections[owner] = before
            raise

    def remove(self, owner: Owner) -> None:
        """Stop asking this owner's section. Returns when no packet is in it. Doing it again does nothing.

        Errors: KernelError and others, if no program could be made without it; then there is no program for anybody.
        """
        self.sections.pop(owner, None)
        try:
            if self.attached and not self._is_gone():
                self._settle()
            else:
                self._end()
        except Exception as error:
            self._end()
            for other in tuple(self.sections):
                other.detached(f"XDP is detached: no program could be made without a ramp that closed: {error}")
            raise

    def abandon(self) -> None:
        """In a forked child."""
        self._detach()
        self._forget(tuple(self._made))

    def leave(self) -> None:
        """At the end of the process: the kernel detaches it."""
        if self.link is not None:
            self.link.leave()
        for made in self._made:
            made.program.leave()

    @property
    def _running(self) -> _Made | None:
        identity = self.id
        return next((made for made in self._made if made.program.id == identity), None)

    @property
    def _asked(self) -> tuple[Section, ...]:
        running = self._running
        return running.sections if running is not None else ()

    def _settle(self) -> None:
        """Make the program run that asks the sections. Errors: the program that ran still runs."""
        if not self.sections:
            self._end()
        if self._asked == tuple(self.sections.values()) and not self._overtaken():
            return
        with self._here(), GracePeriod() as grace:
            while (wanted := tuple(self.sections.values())) != self._asked:
                if wanted:
                    self._put(_Made(self._program(wanted), wanted), self._running)
                else:
                    self._detach()
            if overtaken := self._overtaken():
                grace.wait()
                self._forget(overtaken)

    def _put(self, made: _Made, running: _Made | None) -> None:
        """Put it in the place of the running one, or attach it as the first. A handler may be quicker; `_settle`
        checks.
        """
        self._made.append(made)
        try:
            if running is not None and self.link is not None:
                self.link.update(made.program, running.program)
                return
            link = XdpLink(Kept(), self._mode, self._ifindex)
            if not self.attached:
                self.link = link
                link.create(made.program)
        except OfframpError:
            self._forget([made])
            if self._running is running:
                raise

    def _overtaken(self) -> list[_Made]:
        """Programs that ran, or were to run, and never will again."""
        running = self._running
        return [made for made in self._made if made is not running]

    def _forget(self, overtaken: Sequence[_Made]) -> None:
        for made in overtaken:
            made.program.close()
        self._made[:] = [made for made in self._made if made not in overtaken]

    def _end(self) -> None:
        """Detach it, and wait until no packet is in it. Closing it first frees descriptors, which waiting needs."""
        ended = tuple(self._made)
        self._detach()
        self._forget(ended)
        if ended:
            with suppress(OfframpError), GracePeriod() as grace:  # without this the last count may lack a packet
                grace.wait()

    def _detach(self) -> None:
        if self.link is not None:
            self.link.close()

    def _is_gone(self) -> bool:
        """Whether it was removed or moved to another namespace; then sockets are unbound, and no program can be made
        anew.
        """
        try:
            with self._here():
                nic.carrier(self._ifindex)
        except InterfaceGone:
            return True
        return self.link is not None and not self.link.closed and not self.link.info().ifindex

    def _program(self, sections: tuple[Section, ...]) -> Program:
        compiled = xdp(*(section.spec for section in sections))
        bound = self._ifindex if sections[0].spec.vlan_metadata else None
        verdicts = {verdict.name.lower() for section in sections for verdict in section.spec.verdicts}
        name = f"offramp_{verdicts.pop() if len(verdicts) == 1 else 'shared'}"
        with bind(compiled, *(Holder(section.maps, section.state) for section in sections)) as maps:
            return Program.load(compiled, name=name, maps=maps, ifindex=bound)
