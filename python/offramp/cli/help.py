# SPDX-License-Identifier: Apache-2.0
"""`offramp help [VERB]`: what `--help` shows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from offramp.arguments import meant
from offramp.errors import OptionError

__all__ = ["help_"]


def help_(
    context: typer.Context,
    verb: Annotated[str | None, typer.Argument(metavar="VERB", show_default=False, help="If not given: all.")] = None,
) -> None:
    """Show how a verb is used.

    \b
    offramp help
    offramp help run
    """
    root: Any = context.parent
    if verb is None:
        print(root.get_help())
        return
    command = root.command.get_command(root, verb)
    if command is None:
        hint = meant(verb, root.command.list_commands(root)) or "offramp help lists them"
        raise OptionError(f"help {verb}", reason="there is no such verb", hint=hint)
    print(command.get_help(command.context_class(command, info_name=verb, parent=root)))


help_.__name__ = "help"
