# SPDX-License-Identifier: Apache-2.0
"""`offramp run`: observe chosen packets, or take them from the kernel and count, drop or echo them, until Ctrl-C.

    reading thread    receives (count: in native code; echo: a batch at a time), or, for pass and drop, watches the
                      interface
    main thread       shows the ledger, prints events, follows the match's file, and handles signals

There are two threads because drawing a table takes longer than a ring takes to overflow.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from offramp.cli.interrupts import INTERRUPTED, noted
from offramp.cli.matching import matching, with_own
from offramp.cli.parameters import (
    AsJson,
    Do,
    File,
    Interface,
    Sets,
    WhatToDo,
    Words,
    chosen,
    flag,
    for_time,
    with_options,
)
from offramp.cli.run_display import Display, Lines, Screen
from offramp.cli.run_meanwhile import Followed, Meanwhile
from offramp.errors import InterfaceDown, InterfaceGone, NotSupported, OfframpError, OptionError
from offramp.immutable import immutable
from offramp.options.kinds import Switch
from offramp.options.option import Option
from offramp.text import printable
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp import Match
    from offramp.options import Options
    from offramp.ramp.ledger import Ledger
    from offramp.ramp.ramp import Attachment, Ramp

__all__ = ["run"]

_TURN = 0.05  # seconds until an end is noticed


_FOR = for_time("end by itself after this time")
_RELOAD = Option(
    "reload",
    Switch(),
    "follow the file of -F: a new match in it replaces the old one within a second, and at once on SIGHUP",
    default=False,
)


@with_options
def run(
    interface: Interface,
    do: WhatToDo,
    match: Words = None,
    file: File = None,
    sets: Sets = None,
    seconds: Annotated[str | None, flag(_FOR)] = None,
    as_json: AsJson = False,
    reload: Annotated[bool, flag(_RELOAD)] = False,
    **typed: Any,
) -> None:
    """Observe, count, drop or echo matching packets.

    \b
    offramp run eth0 udp dst port 4321 --do pass
    offramp run eth0 udp dst port 4321 --do count
    offramp run eth0 'src net 203.0.113.0/24' --do drop
    offramp run eth0 udp dst port 7 --do echo --for 1m30s

    Events are printed on stderr, with --json as objects; docs/events.md lists them.

    With pass, the kernel keeps every packet. Else it does not get the matching ones until Ctrl-C, SIGTERM or SIGHUP.
    Then `run` prints the ledger of all packets, and ends with exit status 0. Packets that do not match stay with the
    kernel. So do protected packets, which are listed at the start, except with --no-protect. If the interface goes
    down, `run` waits for it. If it is removed, or if somebody takes our program off it, `run` says so, and ends with
    exit status 1.

    Needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and CAP_NET_RAW for count and echo; or root. With --json, one object
    is printed at the end.
    """
    what = Do.typed(do)
    options = chosen(what, typed)
    limit = math.inf if seconds is None else _FOR.typed(seconds)
    followed = _followed(file, sets, options) if reload else None
    packets = matching(match, file, sets, options)
    with _signals(followed) as signals, _open(interface, packets, what, with_own(options, sets)) as ramp:
        if signals:
            raise typer.Exit(INTERRUPTED)
        if what is Do.ECHO:
            _check_sends(ramp)
        outcome = _shown(ramp, what, followed, _Until(signals, limit), as_json=as_json)
    if as_json:
        print(json.dumps(_summary(ramp, what, outcome)), flush=True)
    if outcome.error is not None:
        raise outcome.error
    if not outcome.packets and not as_json:
        seen = outcome.ledger.seen
        print(f"offramp: no packet matched; {seen:,} arrived on {printable(ramp.plan.interface)}", file=sys.stderr)


def _shown(ramp: Attachment, what: Do, followed: Followed | None, until: _Until, *, as_json: bool) -> _Outcome:
    with _display(ramp, what, as_json) as display:
        meanwhile = Meanwhile(ramp, followed, as_json=as_json)
        outcome = _work(ramp, what, display, meanwhile, until)
        meanwhile.tell()
        display.end(outcome.ledger, outcome.seconds)
    return outcome


@immutable
class _Outcome:
    ledger: Ledger
    seconds: float
    zero_copy: bool | None  # None: no socket
    error: OfframpError | None  # why it ended early: the interface was removed, or XDP detached

    @property
    def packets(self) -> int:
        """Those that this process has received, or on which the driver has acted."""
        return self.ledger.received if self.ledger.verdict is Verdict.CLAIM else self.ledger.claimed


def _summary(ramp: Attachment, do: Do, outcome: _Outcome) -> dict[str, object]:
    return {
        "interface": ramp.plan.interface,
        "match": ramp.plan.match,
        "do": do.value,
        "mode": ramp.mode,
        "zero_copy": outcome.zero_copy,
        "seconds": round(outcome.seconds, 3),
        "packets": outcome.packets,
        "pps": round(outcome.packets / outcome.seconds, 1),
        "ledger": outcome.ledger.to_dict(),
        "plan": ramp.plan.to_dict(),
    }


def _open(interface: str, match: Match, do: Do, options: Options) -> Attachment:
    from offramp.ramp.ramp import Attachment, Ramp

    return (Attachment if do.in_driver else Ramp)(interface, match, do.verdict, options)


def _check_sends(ramp: Attachment) -> None:
    """Errors: NotSupported if none of the queues can send."""
    plan = ramp.plan
    if not plan.send_queues:
        queues = ", ".join(map(str, plan.queues))
        reason = f"its queues {queues} have no transmit queue beside them"
        raise NotSupported(f"--do echo on {plan.interface}", reason=reason, hint="also listen on queue 0")


def _followed(file: str | None, sets: list[str] | None, options: Options) -> Followed:
    if file is None or file == "-":
        raise OptionError("--reload", reason="there is no file to follow", hint="-F FILE reads the match from one")
    return Followed(file, lambda: matching(None, file, sets, options))


@immutable
class _Until:
    """When it ends by itself: on a signal, or when its time is over."""

    signals: list[int]
    limit: float  # seconds


def _zero_copy(ramp: Attachment) -> bool | None:
    """None: it has no socket."""
    return getattr(ramp, "zero_copy", None)


def _title(ramp: Attachment, do: Do) -> str:
    from offramp.planner import shortened

    zero_copy = _zero_copy(ramp)
    copying = "" if zero_copy is None else ", zero-copy" if zero_copy else ", copy"
    hidden = ramp.plan.hidden_queue
    where = "" if hidden is None else f", hidden queue {hidden}"
    where += f", VF {ramp.plan.vf} of {ramp.plan.pf}" if ramp.plan.pf else ""
    return f"{ramp.plan.interface}: {shortened(ramp.plan.match)}: {do}, {ramp.mode}{copying}{where}"


def _display(ramp: Attachment, do: Do, as_json: bool) -> Display:
    title = printable(_title(ramp, do))
    if as_json:
        return Display(title, do)
    on_screen = sys.stdout.isatty() and os.environ.get("TERM") not in (None, "dumb")
    if not on_screen:
        print(f"offramp: {title}; Ctrl-C ends it", file=sys.stderr)
    print(f"offramp: always left to the kernel: {ramp.plan.protected}", file=sys.stderr)
    if ramp.plan.observed:
        print(f"offramp: {ramp.plan.observed}", file=sys.stderr)
    return (Screen if on_screen else Lines)(title, do, steered=ramp.plan.hidden_queue is not None)


def _work(ramp: Attachment, do: Do, display: Display, meanwhile: Meanwhile, until: _Until) -> _Outcome:
    """Read and show until the end or an error. Closes the ramp; its ledger is then at rest."""
    done = Event()
    error, zero_copy = None, _zero_copy(ramp)
    with ThreadPoolExecutor(1) as threads:
        started = time.monotonic()
        reading = threads.submit(_read, ramp, do, done)
        try:
            due = display.every
            while not until.signals and not reading.done() and (elapsed := time.monotonic() - started) < until.limit:
                if meanwhile.look():
                    display.title = _title(ramp, do)
                if elapsed >= due:
                    display.show(ramp.ledger(), elapsed)
                    due = max(due + display.every, elapsed)
                time.sleep(max(0.0, min(_TURN, due - elapsed, until.limit - elapsed)))
        finally:
            done.set()
        try:
            reading.result()
        except OfframpError as ended:
            error = ended
        seconds = time.monotonic() - started
        ramp.close()
    return _Outcome(ramp.ledger(), seconds, zero_copy, error)


def _read(ramp: Attachment, do: Do, done: Event) -> None:
    """What the reading thread does until `done`. Errors: InterfaceGone, ..."""
    turn = {Do.COUNT: _count, Do.ECHO: _echo}.get(do, _stand_by)
    name, down = ramp.plan.interface, False
    while not done.is_set():
        try:
            turn(cast("Ramp", ramp))
            down = False
        except InterfaceDown:  # this is also an event
            down = True
            time.sleep(_TURN)
        except InterfaceGone as error:
            raise InterfaceGone(f"{name} was removed, or moved to another network namespace") from error
    if down:
        return
    if do is Do.ECHO:
        cast("Ramp", ramp).flush(_TURN)


def _count(ramp: Ramp) -> None:
    ramp.port.discard(_TURN)


def _echo(ramp: Ramp) -> None:
    batch = ramp.rx(_TURN)
    if batch is None:
        return
    batch.swap_addresses()
    sendable = batch.length <= ramp.port.facts.largest_frame
    ramp.tx(batch, None if sendable.all() else sendable, timeout=0)  # the ledger counts what has no room


def _stand_by(ramp: Attachment) -> None:
    """Check whether it is still in force; the driver does the work. Errors: Detached, InterfaceDown, InterfaceGone."""
    time.sleep(_TURN)
    ramp.check()


@contextmanager
def _signals(followed: Followed | None) -> Iterator[list[int]]:
    """See `noted`. If a file is followed, SIGHUP reads it and ends nothing."""

    def ask(number: int, _: FrameType | None) -> None:
        if followed is not None:
            followed.asked = True

    with noted({signal.SIGHUP: ask} if followed is not None else {}) as received:
        yield received
