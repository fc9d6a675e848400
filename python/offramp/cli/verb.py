# SPDX-License-Identifier: Apache-2.0
"""How a verb's help looks: an argument is shown by its name alone, as in INTERFACE and [MATCH...]."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

__all__ = ["Verb", "argument"]


class Verb(TyperCommand):
    """A verb. The list of verbs shows only its first sentence, all of it, however narrow the terminal."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        settings["short_help"] = str(settings.get("help")).partition("\n\n")[0]
        super().__init__(name, **settings)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """-i names the interface, as tcpdump's users type it."""
        if any(each.name == "interface" for each in self.params):
            args = _interface_first(args)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *(_in_brackets(each) for each in self.params if _is_argument(each))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        params: list[Any] = self.get_params(ctx)
        arguments = [(argument(each), each.help or "") for each in params if _is_argument(each)]
        options = [each.get_help_record(ctx) for each in params if not _is_argument(each)]
        for title, rows in (("Arguments", arguments), ("Options", [row for row in options if row is not None])):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _interface_first(args: list[str]) -> list[str]:
    for place, word in enumerate(args):
        if word == "--":
            break
        if word == "-i" and place + 1 < len(args):
            return [args[place + 1], *args[:place], *args[place + 2 :]]
        if word.startswith("-i") and len(word) > 2:
            return [word[2:], *args[:place], *args[place + 1 :]]
    return args


def argument(param: Any) -> str:
    """The name of an argument: INTERFACE."""
    return str(param.metavar or param.name.upper())


def _in_brackets(param: Any) -> str:
    name = argument(param) + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")
