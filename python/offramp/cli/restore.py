# SPDX-License-Identifier: Apache-2.0
"""`offramp restore`: give back what offramp has changed on interfaces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from offramp.cli.interrupts import raising
from offramp.cli.parameters import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["restore"]


def restore(
    which: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INTERFACE",
            show_default=False,
            help="An interface, or the name of a journal. If none is given: all.",
        ),
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Show what there is to restore. Changes nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give back what offramp has changed on interfaces.

    \b
    offramp restore --list
    offramp restore
    offramp restore eth0

    This is for what a crash has left behind, which is rare: a guardian process undoes the changes of a process that is
    killed. It is also for changes that were made to stay (`offramp nic`). If somebody else has changed a setting since,
    it is left alone, and this is said. What a living process has changed is not touched.

    Exit status: 0 if all is dealt with, or there was nothing to do; 1 if a setting could not be restored, or a journal
    is refused because it is not in offramp's form. Needs root, or CAP_NET_ADMIN; and
    CAP_SYS_ADMIN and CAP_SYS_PTRACE for interfaces of other network namespaces, CAP_DAC_OVERRIDE for others' journals.
    """
    from offramp import journal

    wanted = which or []
    if only_list:
        entries = [entry for entry in journal.listed() if not wanted or entry.is_one_of(wanted)]
        text = "\n".join(map(str, entries)) or _nothing(wanted)
        print(json.dumps({"journals": [entry.to_dict() for entry in entries]}) if as_json else text)
        return
    with raising():
        reports = journal.restore(wanted)
    if as_json:
        print(json.dumps({"journals": [report.to_dict() for report in reports]}))
    else:
        print("\n".join(map(str, reports)) or _nothing(wanted))
    if not all(report.dealt_with for report in reports):
        raise typer.Exit(1)


def _nothing(wanted: Sequence[str]) -> str:
    return f"nothing to restore: there is no journal for {', '.join(wanted)}" if wanted else "nothing to restore"
