# SPDX-License-Identifier: Apache-2.0
"""The figures of `offramp run`, while it runs and at its end.

    Screen    on a terminal: one table, redrawn; the last one stays
    Lines     into a pipe or file: one line per second, as `vmstat 1` prints it, then the table
    Display   with --json: shows nothing

A display is a context manager with `every` (seconds between readings), `show` and `end`.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from offramp.cli.parameters import Do
from offramp.protection import KEPT

if TYPE_CHECKING:
    from rich.table import Table

    from offramp.ramp.ledger import Ledger

__all__ = ["Display", "Lines", "Screen"]

_HEADER_EVERY = 20  # lines
_WIDTH = 10  # characters of a column; more if its name is longer

# name in the ledger: indent, meaning
_ROWS = {
    "seen": (0, "all packets that arrived"),
    "protected": (1, f"to the kernel: {KEPT}"),
    "passed": (1, "to the kernel: did not match"),
    "early": (1, "to the kernel: matched, before the sockets were in place"),
    "stalled": (1, "to the kernel: matched, but this process was asleep"),
    "redirect_failed": (1, "to the kernel: matched, but its queue has no socket"),
    "missed_by_nic": (1, "to the kernel: matched, on another queue than the hidden one"),
    "too_long": (1, "to the kernel: matched, but longer than a frame"),
    "dropped": (1, "matched; ended in the driver"),
    "observed": (1, "to the kernel: matched, and was counted"),
    "claimed": (1, "matched"),
    "received": (2, "by this process"),
    "sent": (2, "of these, back to where they came from"),
    "tx_dropped": (3, "lost: the interface dropped it, without carrier or peer"),
    "tx_ring_full": (2, "lost: no room to send it back"),
    "waiting": (2, "not read when it ended"),
    "rx_ring_full": (2, "lost: this process was too slow"),
    "rx_dropped": (2, "lost: no free frame"),
    "redirect_lost": (2, "lost: the socket was gone"),
}
_OF_ECHO = ("sent", "tx_dropped", "tx_ring_full")
_AT_REST = ("waiting", "redirect_lost")  # these also hold packets in flight


def counts(ledger: Ledger, do: Do, *, at_rest: bool, steered: bool = False) -> dict[str, int]:
    """The figures to show, in the order of _ROWS. `steered`: the NIC brings the flow to a hidden queue."""
    kernel = {name: getattr(ledger, name) for name in ("seen", "protected", "passed")}
    if do.in_driver:
        return kernel | {ledger.matched_as: ledger.claimed}
    names = [name for name in tuple(_ROWS)[3:] if name not in ("dropped", "observed")]
    unwanted = {*(() if at_rest else _AT_REST), *(() if steered else ("missed_by_nic",))}
    figures = ledger.to_dict()
    wanted = [name for name in names if name not in unwanted and (name not in _OF_ECHO or do is Do.ECHO)]
    return kernel | {name: int(str(figures[name])) for name in wanted}


class Display:
    """Shows nothing. Remembers the last reading, to compute rates."""

    every = 3600.0

    def __init__(self, title: str, do: Do, *, steered: bool = False) -> None:
        self.title = title
        self.do = do
        self.steered = steered
        self._last: dict[str, int] = {}
        self._last_seconds = 0.0

    def show(self, ledger: Ledger, seconds: float) -> None:
        """Show how things are after `seconds`."""

    def end(self, ledger: Ledger, seconds: float) -> None:
        """Show how it was in the end, with rates over the whole time."""

    def _since_last(self, ledger: Ledger, seconds: float) -> tuple[dict[str, int], dict[str, float]]:
        """Packets, and packets a second since the last reading."""
        now = counts(ledger, self.do, at_rest=False, steered=self.steered)
        passed = max(seconds - self._last_seconds, 1e-6)
        rates = {name: (count - self._last.get(name, 0)) / passed for name, count in now.items()}
        self._last, self._last_seconds = now, seconds
        return now, rates

    def _final(self, ledger: Ledger, seconds: float) -> Table:
        now = counts(ledger, self.do, at_rest=True, steered=self.steered)
        return self._table(now, {name: count / max(seconds, 1e-6) for name, count in now.items()}, seconds)

    def _table(self, now: dict[str, int], rates: dict[str, float], seconds: float) -> Table:
        from rich.table import Table
        from rich.text import Text

        title = Text(f"{self.title}, {seconds:.1f} s", style="bold")
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("", no_wrap=True, min_width=19)
        table.add_column("packets", justify="right", min_width=14, no_wrap=True)
        table.add_column("per second", justify="right", min_width=12, no_wrap=True)
        table.add_column("", no_wrap=True, style="dim")
        for name, count in now.items():
            indent, meaning = _ROWS[name]
            alarming = meaning.startswith("lost") and count > 0
            label = "  " * indent + name
            table.add_row(label, f"{count:,}", f"{rates[name]:,.0f}", meaning, style="red" if alarming else None)
        return table

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class Screen(Display):
    """A table on a terminal."""

    every = 0.25

    def __enter__(self) -> Self:
        from rich.live import Live

        self._screen = Live(auto_refresh=False)
        self._screen.start()
        return self

    def show(self, ledger: Ledger, seconds: float) -> None:
        self._screen.update(self._table(*self._since_last(ledger, seconds), seconds), refresh=True)

    def end(self, ledger: Ledger, seconds: float) -> None:
        self._screen.update(self._final(ledger, seconds), refresh=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._screen.stop()


class Lines(Display):
    """Packets per second, in columns that awk can read."""

    every = 1.0
    _lines = 0

    def show(self, ledger: Ledger, seconds: float) -> None:
        _, rates = self._since_last(ledger, seconds)
        if not self.do.in_driver:
            rates["lost"] = rates.pop("rx_ring_full") + rates.pop("rx_dropped")
        if self._lines % _HEADER_EVERY == 0:
            print(f"{'s':>5}", *(f"{name:>{_WIDTH}}" for name in rates))
        self._lines += 1
        print(f"{seconds:5.0f}", *(f"{rate:>{max(_WIDTH, len(name))}.0f}" for name, rate in rates.items()), flush=True)

    def end(self, ledger: Ledger, seconds: float) -> None:
        from rich.console import Console

        console = Console(width=120)
        with console.capture() as table:
            console.print(self._final(ledger, seconds))
        print("", *(line.rstrip() for line in table.get().splitlines()), sep="\n", flush=True)
