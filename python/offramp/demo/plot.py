# SPDX-License-Identifier: Apache-2.0
"""The demo's picture: packets accepted, and what HTTP on the same interface felt, side by side."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

OURS, THEIRS, INK, FAINT = "#0b7a75", "#a9b1ba", "#22282e", "#8a939c"
PERCENTILES = ("p50_ms", "p99_ms")


def draw(result: dict[str, Any], path: Path) -> None:
    """Writes a PNG. Needs matplotlib, but no display."""
    from matplotlib.figure import Figure

    played = [contender for contender in result["contenders"] if "skipped" not in contender]
    figure = Figure(figsize=(10.5, 4), dpi=160, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(10, 7))
    _accepted(left, played)
    _http(right, played, result["baseline"])
    left.set_yticks(range(len(played)), [contender["name"] for contender in played])
    left.invert_yaxis()
    for label, contender in zip(left.get_yticklabels(), played, strict=True):
        label.set(color=_colour(contender), fontweight="bold" if _ours(contender) else "normal", fontsize=11)
    for axes in (left, right):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(FAINT)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", colors=FAINT, labelsize=9)
    machine = result["machine"]
    figure.supxlabel(
        f"64-byte frames over veth, one CPU for each of two hosts · Linux {machine['kernel']} · {machine['cpu']}",
        fontsize=8,
        color=FAINT,
    )
    with NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as drawn:  # root writes through no link
        figure.savefig(drawn, format="png")
    os.chmod(drawn.name, 0o644)
    os.replace(drawn.name, path)


def _accepted(axes: Axes, played: list[dict[str, Any]]) -> None:
    for row, contender in enumerate(played):
        accepted = contender["pps"] / 1e6
        axes.barh(row, accepted, height=0.55, color=_colour(contender, bar=True))
        cost = contender["cpu_ns_per_packet"]
        about = f"  {accepted:.2f}" + (f"   {cost:,.0f} ns of CPU each" if cost is not None else "")
        axes.text(accepted, row, about, va="center", fontsize=10, color=INK)
    offered = [contender["offered_pps"] / 1e6 for contender in played]
    axes.set_xlim(0, 1.6 * max((contender["pps"] / 1e6 for contender in played), default=1.0))
    span = f"{min(offered):.1f} to {max(offered):.1f}" if offered else "none"
    _title(axes, "Packets accepted, millions a second", f"of {span} million offered")


def _http(axes: Axes, played: list[dict[str, Any]], quiet: dict[str, Any]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    for row, contender in enumerate(played):
        median, slow = (contender["http"][percentile] for percentile in PERCENTILES)
        colour = _colour(contender, bar=True)
        axes.plot([median, slow], [row, row], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot(median, row, "o", color="white", markeredgecolor=colour, markeredgewidth=2, markersize=7)
        axes.plot(slow, row, "o", color=colour, markersize=9)
        axes.annotate(
            f"{slow:.1f}", (slow, row), (9, 0), textcoords="offset points", va="center", fontsize=10, color=INK
        )
        if errors := contender["http"]["errors"]:
            axes.annotate(f"{errors} errors", (slow, row), (9, -12), textcoords="offset points", fontsize=8, color=INK)
    axes.axvline(quiet["p99_ms"], color=FAINT, linestyle=(0, (2, 3)), linewidth=1, zorder=0)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(0.9 * low, 1.5 * high)
    side = -1 if quiet["p99_ms"] ** 2 > low * high else 1  # of the line, where there is more room
    axes.annotate(
        "p99 without a flood",
        (quiet["p99_ms"], 0),
        (4 * side, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if side < 0 else "left",
        fontsize=8,
        color=FAINT,
    )
    axes.xaxis.set_major_locator(FixedLocator([step * 10.0**power for power in range(-3, 5) for step in (1, 2, 5)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    _title(axes, "HTTP on the same interface, ms", "median ○ and 99th percentile ●")


def _title(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=22)
    axes.text(0, 1.04, subtitle, transform=axes.transAxes, fontsize=9, color=FAINT)


def _ours(contender: dict[str, Any]) -> bool:
    return str(contender["name"]).startswith("offramp")


def _colour(contender: dict[str, Any], *, bar: bool = False) -> str:
    return OURS if _ours(contender) else THEIRS if bar else INK
