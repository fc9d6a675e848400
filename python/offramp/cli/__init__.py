# SPDX-License-Identifier: Apache-2.0
"""The command line: `offramp VERB ...`, one file per verb.

    run.py      take packets off an interface and count, drop or echo them; run_display.py shows the figures,
                run_meanwhile.py tells events and follows the match's file
    plan.py     what `run` would do, and why; changes nothing
    doctor.py   what this machine and its interfaces can do; checks.py finds it out
    nic.py      how an interface receives, and how fast; changes it; nic_view.py shows it, nic_words.py reads changes
    ports.py    the ports that can be opened by name
    restore.py  give back what offramp has changed
    demo.py     two virtual hosts, a flood and a bypass
    help.py     the help of a verb, as --help shows it
    parameters.py  the arguments that verbs share, and the flags of the table of options
    matching.py    the match, the file it is in, the files of its sets
    verb.py        how a verb's help looks
    interrupts.py  what Ctrl-C does, at each moment
    streams.py     output that cannot be written

Exit status: 0 done; 1 it failed; 2 bad input (a match, an option, a file or an interface that does not exist); 130
Ctrl-C before it began. An error is one line on stderr, `offramp: what: why (hint)`; so is a warning. Only a verb's own
output goes to stdout. Verbs import the rooms that do the work when they run, so `offramp --help` loads only typer.
"""

from __future__ import annotations

import errno
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Any, TextIO

import typer

import offramp
from offramp.arguments import meant
from offramp.cli.demo import demo
from offramp.cli.doctor import doctor
from offramp.cli.help import help_
from offramp.cli.interrupts import INTERRUPTED
from offramp.cli.nic import nic
from offramp.cli.plan import plan
from offramp.cli.ports import ports
from offramp.cli.restore import restore
from offramp.cli.run import run
from offramp.cli.streams import UNWRITABLE, not_written, prepare, say, written
from offramp.cli.verb import Verb
from offramp.errors import MatchError, NoSuchInterface, OfframpError, OptionError, VerifierError
from offramp.options import gone
from offramp.text import printable

__all__ = ["app", "main"]

_FAILED, _BAD_INPUT = 1, 2
_DEBUG = "--debug"

_UsageError: Any = typer.BadParameter.__mro__[1]  # click's UsageError; typer's version decides where it is

app = typer.Typer(
    name="offramp",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for verb in (run, plan, doctor, ports, restore, demo, help_):
    app.command(cls=Verb)(verb)
app.command(cls=Verb, context_settings={"ignore_unknown_options": True})(nic)  # "action -1" is not an option


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"offramp {offramp.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def offramp_(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("-V", "--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option(_DEBUG, help="Show a traceback with an error. May stand anywhere on the line.")
    ] = False,
) -> None:
    """Kernel bypass for the flows you pick. The kernel keeps the NIC.

    \b
    offramp doctor eth0                    can it work here?
    offramp plan eth0 udp port 53          what would be done
    offramp run eth0 udp port 53 --do drop until Ctrl-C
    offramp demo                           see it work

    With --json a verb prints one object; what is shown again and again is one object a line.

    A match is a tcpdump expression. Packets that do not match go on to the kernel. So do protected packets, such as
    those of your SSH session, except with --no-protect; `run` lists them. When offramp ends, however it ends, the
    kernel has everything back.
    """
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(_BAD_INPUT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `offramp ARGUMENTS...` (default: those of this process). Returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = _DEBUG in given
    if (closed := prepare()) is not None:
        say(closed)
        return _FAILED
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name may have letters that the terminal's encoding has not
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            words = [argument for argument in given if argument != _DEBUG]
            status = app(words, prog_name="offramp", standalone_mode=False) or 0
            sys.stdout.flush()
            return status
        except typer.Abort:
            return INTERRUPTED
        except Exception as error:
            if (unwritten := not_written()) is not None:
                say(unwritten)
                return _FAILED
            if isinstance(error, OSError) and not isinstance(error, OfframpError) and error.errno == errno.EPIPE:
                return _FAILED
            if debug:
                traceback.print_exception(error)
                if isinstance(error, VerifierError):
                    say(error.log)
            say(f"offramp: {_in_words(error)}")
            bad_input = isinstance(error, (MatchError, OptionError, NoSuchInterface, _UsageError))
            return _BAD_INPUT if bad_input else _FAILED


def _in_words(error: Exception) -> str:
    if isinstance(error, OfframpError):
        return str(error)
    if isinstance(error, _UsageError):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "offramp"
        option = str(getattr(error, "option_name", None) or "")
        if earlier := gone(option.lstrip("-"), option, lambda now: now.spelled):
            return str(earlier)
        message = " ".join(error.format_message().split()).rstrip(".")
        if (name := _unknown_verb(error)) is not None:
            near = meant(name, error.ctx.command.list_commands(error.ctx))
            return f"No such command '{name}' ({near or 'see offramp --help'})"
        return f"{message} (see '{path} --help')"
    if isinstance(error, OSError):
        return written(error.errno) if error.errno in UNWRITABLE and error.filename is None else str(error)
    return f"{type(error).__name__}: {error} (a bug in offramp; {_DEBUG} shows where)"


def _unknown_verb(error: Any) -> str | None:
    found = re.match("No such command '([^']*)'", error.message)
    return found[1] if found else None


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    say(f"offramp: warning: {printable(str(message))}")
