# SPDX-License-Identifier: Apache-2.0
"""The command line without privileges: help, bad input, exit statuses, and what goes to which stream."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

import offramp
from offramp.bpf.probe import KernelFeature
from offramp.cli import app, checks, main
from offramp.cli.matching import matching
from offramp.cli.parameters import Do
from offramp.cli.run_display import Lines, counts
from offramp.errors import MatchError, NoSuchInterface
from offramp.options import Options
from offramp.ports.ledger import QueueLedger
from offramp.ramp.ledger import Ledger
from offramp.state import HashSet, PrefixSet
from offramp.verdict import Verdict
from tests.rigs.imported import loaded_by

VERBS = ("run", "plan", "doctor", "nic", "ports", "restore", "demo", "help")
LEDGER = Ledger(
    Verdict.CLAIM,
    seen=100,
    protected=1,
    passed=7,
    early=2,
    claimed=90,
    queues=(QueueLedger(received=70, rx_ring_full=15, rx_dropped=5), QueueLedger()),
)


def stderr_of(capsys: pytest.CaptureFixture[str], *arguments: str, status: int) -> str:
    """Runs a line that is to fail with `status`: what it says, which is all on stderr."""
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("arguments", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help_names_the_verbs_and_shows_examples(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    if arguments[0] in ("run", "plan", "doctor", "ports", "restore"):
        assert f"\n  offramp {arguments[0]} " in result.stdout
    if len(arguments) == 1:
        assert all(f"\n  {verb} " in result.stdout for verb in VERBS)


def test_help_loads_no_more_than_typer() -> None:
    modules = loaded_by("import offramp.cli; offramp.cli.main(['--help'])")
    assert "typer" in modules
    assert not {"numpy", "llvmlite", "pyroute2", "rich", "offramp.ramp", "offramp._native"} & modules


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"offramp {offramp.__version__}\n")


def test_without_a_verb_the_help_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Commands:" in stderr_of(capsys, status=2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("runn", "No such command 'runn' (did you mean run?)"),
        ("--verbose", "No such option: --verbose"),
        ("run lo udp", "Missing option '--do'"),
        ("run lo --do count", "no match was given ('' is every packet; -F FILE reads one)"),
        ("plan lo -F no-such-file", "-F no-such-file: No such file or directory"),
        ("plan lo udp -F -", "-F -: a match was given, too (give only one of them)"),
        (
            "plan lo udp --set my-list=f",
            "--set my-list=f: a set cannot be called 'my-list' (use letters, digits and",
        ),
        ("plan lo udp --set f", "--set f: not of the form NAME=FILE"),
        ("plan lo udp --set a=no-such-file", "--set a=no-such-file: No such file or directory"),
        ("plan lo udp --set a=/dev/null --set a=/dev/null", "--set a=/dev/null: a was given before"),
        ("run lo udp --do tally", "--do tally: not one of count, drop, echo, pass"),
        ("run lo udp --do cnt", "--do cnt: not one of count, drop, echo, pass (did you mean count?)"),
        (
            "run lo udp --do count --queue 3",
            "--queue: there is no such option any more (--hidden-queue says which queue is",
        ),
        ("plan lo udp --via vf", "--via: there is no such option any more (--layout says it: vf)"),
        ("run lo udp --do count --queues one", "--queues one: not a whole number"),
        ("run lo udp --do count --queues 0,1 --queues x", "--queues 0,1,x: not a whole number"),
        (
            "run lo udp --do count --queues 1 --hidden-queue 1",
            "queues=(1,) in layout hidden-queue: it is for layout in-",
        ),
        ("run lo udp --do count --mode fast", "--mode fast: not one of auto, native, generic"),
        ("run lo udp --do count --copying no", "--copying no: not one of"),
        ("run lo udp --do count --require speed", "--require speed: not one of"),
        ("run lo udp --do count --require native --mode generic", "they exclude each other"),
        (
            "run lo udp --do count --stall soon",
            "--stall soon: neither a time nor never (a time is 5, 5s, 500ms, 1m or 1h30m)",
        ),
        ("run lo udp --do count --stall 0", "--stall 0: not from 10ms to 1h, or never"),
        ("run lo udp --do count --ring 100", "--ring 100: not a power of two"),
        ("run lo udp --do count --hidden-queue -1", "--hidden-queue -1: not 0 or more"),
        ("run lo udp --do count --for 0", "--for 0: not from 1ms to 8784h"),
        ("run lo udp --do count --for nan", "--for nan: not a time (a time is 5, 5s, 500ms, 1m or 1h30m)"),
        ("run lo udp --do drop --queues 0", "--queues with --do drop: the driver acts"),
        ("run lo udp --do drop --stall never", "--stall with --do drop"),
        ("run lo udp --do drop --require zero-copy", "--require zero-copy with --do drop"),
        ("run no-such0 udp --do count", "no interface 'no-such0' in this network namespace"),
        ("plan no-such0 udp", "no interface 'no-such0' in this network namespace"),
        ("doctor no-such0", "no interface 'no-such0' in this network namespace"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(capsys: pytest.CaptureFixture[str], line: str, said: str) -> None:
    err = stderr_of(capsys, *line.split(), status=2)
    assert err.startswith("offramp: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_match_comes_from_a_file_as_in_tcpdump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = b"udp # DNS, \xc3\xa9tc.\n  dst\tport\n#port 80\n53"
    (tmp_path / "match").write_bytes(written)
    assert str(matching(None, str(tmp_path / "match"), None, Options())) == "udp dst port 53"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(written)))
    assert str(matching(None, "-", None, Options())) == "udp dst port 53"
    (tmp_path / "match").write_text("# every packet\n")
    assert matching(None, str(tmp_path / "match"), None, Options()) == offramp.Match("")


def test_a_mistake_in_a_file_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "match").write_text("udp # DNS\ndst prt 53")
    with pytest.raises(MatchError) as caught:
        matching(None, str(tmp_path / "match"), None, Options())
    assert caught.value.position == len("udp # DNS\ndst ")
    (tmp_path / "match").write_text("tcp or " * 1_000_000)
    with pytest.raises(MatchError, match="at most 4194304 characters"):
        matching(None, str(tmp_path / "match"), None, Options())


@pytest.mark.parametrize(
    ("match", "kind", "family"),
    [
        ("src host in @list", PrefixSet, "ip"),
        ("ip6 src host in @list or in @list", PrefixSet, "ip6"),
        ("tcp dst port in @list", HashSet, "port"),
        ("not ether src in @list", HashSet, "ether"),
    ],
)
def test_a_list_that_is_empty_today_holds_what_is_looked_up(
    tmp_path: Path, match: str, kind: type[HashSet | PrefixSet], family: str
) -> None:
    path = tmp_path / "list"
    path.write_text("# filled tomorrow\n")
    (table,) = matching([match], None, [f"list={path}"], Options()).sets.values()
    assert (type(table), table.family, len(table)) == (kind, family, 0)


def test_an_empty_list_is_of_the_family_that_it_says(tmp_path: Path) -> None:
    HashSet(family="ip6", capacity=9).save(tmp_path / "list")
    (table,) = matching(["src host in @list"], None, [f"list={tmp_path / 'list'}"], Options()).sets.values()
    assert (type(table), table.family, table.capacity) == (HashSet, "ip6", 9)
    (tmp_path / "list").write_text("::1\n")
    (table,) = matching(["src host in @list"], None, [f"list={tmp_path / 'list'}"], Options()).sets.values()
    assert (type(table), table.family) == (PrefixSet, "ip6")


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_syntax_error_has_a_caret_under_the_place(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    err = stderr_of(capsys, verb, "lo", "udp", "dst", "prt 53", "--do", "drop", status=2)
    first, match, caret = err.splitlines()
    assert first.startswith("offramp: ")
    assert match == "  udp dst prt 53"
    assert caret == "          ^^^"


@pytest.mark.parametrize("where", [0, 1, 3])
def test_debug_shows_a_traceback_wherever_it_stands(capsys: pytest.CaptureFixture[str], where: int) -> None:
    line = ["plan", "no-such0", "udp"]
    line.insert(where, "--debug")
    assert main(line) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("offramp: no interface")


def test_a_bug_is_called_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offramp.ramp.planned.plan_for", lambda *_: 1 // 0)
    err = stderr_of(capsys, "plan", "lo", "udp", status=1)
    assert (
        err
        == "offramp: ZeroDivisionError: integer division or modulo by zero (a bug in offramp; --debug shows where)\n"
    )


def test_a_warning_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: object) -> str:
        warnings.warn("lo: generic mode", UserWarning, stacklevel=1)
        return "the plan"

    monkeypatch.setattr("offramp.ramp.planned.plan_for", warn)
    monkeypatch.setattr("offramp.planner.explain", lambda made, _: made)
    assert main(["plan", "lo", "udp"]) == 0
    assert capsys.readouterr() == ("the plan\n", "offramp: warning: lo: generic mode\n")


def test_interrupted_is_not_a_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("offramp.ramp.planned.plan_for", interrupt)
    assert stderr_of(capsys, "plan", "lo", "udp", status=130) == ""


def test_doctor_in_json_has_a_status_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    checks = [*found["machine"], *(check for interface in found["interfaces"] for check in interface["checks"])]
    assert {check["status"] for check in checks} <= {"ok", "warn", "missing", "unknown"}
    assert "lo" in {interface["name"] for interface in found["interfaces"]}
    assert status == any(check["status"] == "missing" for check in found["machine"])


def test_doctor_says_what_is_in_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "lo"]) == 1  # its MTU of 65536 does not fit
    out, err = capsys.readouterr()
    assert err == ""
    assert "ip link set lo mtu 3818" in out
    assert "lo: in the way: " in out.splitlines()[-1]


def test_an_interface_that_vanishes_is_left_out_of_the_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str) -> None:
        raise NoSuchInterface(f"no interface {name!r}")

    monkeypatch.setattr("offramp.nic.read", gone)
    main(["doctor", "--json"])
    assert json.loads(capsys.readouterr().out)["interfaces"] == []


def test_names_of_columns_stand_above_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    Lines("eth0: udp", Do.COUNT).show(LEDGER, 1.0)
    header, line = capsys.readouterr().out.splitlines()
    assert "redirect_failed" in header.split()
    ends = [[match.end() for match in re.finditer(r"\S+", row)] for row in (header, line)]
    assert ends[0] == ends[1]


def test_the_figures_add_up_and_leave_nothing_out() -> None:
    figures = counts(LEDGER, Do.ECHO, at_rest=True)
    assert figures["seen"] == sum(
        figures[name] for name in ("protected", "passed", "early", "stalled", "redirect_failed", "claimed")
    )
    assert figures["claimed"] == sum(
        figures[name] for name in ("received", "waiting", "rx_ring_full", "rx_dropped", "redirect_lost")
    )


def test_the_figures_of_packets_in_flight_are_not_shown() -> None:
    assert {"waiting", "redirect_lost"} & set(counts(LEDGER, Do.COUNT, at_rest=False)) == set()
    assert "sent" not in counts(LEDGER, Do.COUNT, at_rest=True)


def test_lines_are_rates_in_columns_and_end_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    view = Lines("eth0: udp", Do.COUNT)
    view.show(LEDGER, 2.0)
    view.show(LEDGER, 3.0)
    view.end(LEDGER, 3.0)
    header, first, second, empty, title, *table = capsys.readouterr().out.splitlines()
    columns = dict(zip(header.split(), first.split(), strict=True))
    assert (columns["s"], columns["seen"], columns["received"], columns["lost"]) == ("2", "50", "35", "10")
    assert set(second.split()[1:]) == {"0"}
    assert (empty, title) == ("", "eth0: udp, 3.0 s")
    assert [line.split()[:2] for line in table[1:3]] == [["seen", "100"], ["protected", "1"]]


def test_a_drop_in_the_driver_is_called_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    view = Lines("eth0: udp", Do.DROP)
    view.show(Ledger(Verdict.DROP, seen=10, passed=3, claimed=7), 1.0)
    header, line = capsys.readouterr().out.splitlines()
    assert dict(zip(header.split(), line.split(), strict=True))["dropped"] == "7"


def test_control_c_while_it_is_imported_is_quiet() -> None:
    code = (
        "import sys, offramp.__main__\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "sys.exit(offramp.__main__.main())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


def test_the_module_is_the_command() -> None:
    run = subprocess.run([sys.executable, "-m", "offramp", "nonsense"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "nonsense" in run.stderr


def test_doctor_knows_what_brings_each_feature_or_what_goes_without() -> None:
    assert {*checks._SINCE, *checks._OPTIONAL} == set(KernelFeature)
    assert not {*checks._SINCE} & {*checks._OPTIONAL}
