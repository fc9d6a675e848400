# SPDX-License-Identifier: Apache-2.0
"""`offramp demo`: two virtual hosts, a flood, a bypass, and the kernel still serving.

stage.py       one round: a lab, one contender, and figures
contender.py   the four that take the flood in turn, each in a process of its own
web.py         the HTTP server and client that go on meanwhile
actor.py       processes on the lab's hosts, and how they talk
report.py      the result, as JSON and as a table
plot.py        the result as a picture
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from offramp.errors import OptionError, PrivilegeError

__all__ = ["SECONDS", "run"]

SECONDS = 5.0  # of flood, for each contender
LEAST, MOST = 0.5, 60.0
QUIET = 3.0  # seconds at most without a flood
PLOT = Path("offramp-demo.png")


def run(*, as_json: bool = False, plot: Path | None = None, seconds: float = SECONDS) -> int:
    """Perform the demo; print its result on stdout, as a table or as JSON, and draw it. Returns an exit status.

    seconds: of flood for each of the four contenders. plot: a PNG file; default offramp-demo.png in the current
    directory if matplotlib is there, and with as_json only if it is asked for. Progress and remarks go to stderr.

    Privileges: root. Minimum kernel: 6.1. Errors: OptionError, PrivilegeError, OfframpError.
    """
    if not LEAST <= seconds <= MOST:
        raise OptionError(f"seconds={seconds:g}", reason=f"not between {LEAST:g} and {MOST:g}")
    _check_privileges()
    picture = _picture(plot, needed=not as_json)
    from rich.console import Console

    from offramp.bench.machine import machine
    from offramp.bench.scene import Placement
    from offramp.demo import report, stage
    from offramp.demo.contender import NAMES

    remarks, placement = Console(stderr=True), Placement.here("threaded")
    rounds: list[stage.Round | stage.Skipped] = []
    with remarks.status("HTTP without a flood") as status:
        quiet = stage.baseline(min(seconds, QUIET), placement)
        for name in NAMES:
            status.update(f"{name} takes the flood, HTTP goes on")
            rounds.append(stage.perform(name, seconds, placement))
    result = report.summary(rounds, quiet, placement, machine())
    if picture is not None:
        from offramp.demo.plot import draw

        draw(result, picture)
        result["plot"] = str(picture)
    if as_json:
        report.print_json(result)
    else:
        report.print_table(result)
        if picture is None:
            remarks.print("no picture, because matplotlib is missing: pip install matplotlib", highlight=False)
    return 0 if report.exact(result) else 1


def _picture(wanted: Path | None, *, needed: bool) -> Path | None:
    """Where to draw; None without matplotlib, or if nobody needs it. Found out before the demo, which takes a while."""
    from importlib.util import find_spec

    if wanted is None and not needed:
        return None
    path = wanted or PLOT
    if path.suffix.lower() != PLOT.suffix:
        raise OptionError(f"--plot {path}", reason="not a .png file, which is what is drawn")
    if find_spec("matplotlib") is None:
        if wanted is not None:
            raise OptionError(f"--plot {wanted}", reason="matplotlib is missing", hint="pip install matplotlib")
        return None
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise OptionError(f"cannot write {path}", hint="--plot FILE.png names another file")
    return path


def _check_privileges() -> None:
    from offramp.syscalls.privileges import FOR_BPF, Capability, hint, missing

    needed = (*FOR_BPF, Capability.CAP_NET_RAW, Capability.CAP_SYS_ADMIN)
    if missing(needed):
        raise PrivilegeError("offramp demo makes network namespaces", errno.EPERM, hint=hint(needed))
