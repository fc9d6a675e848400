# SPDX-License-Identifier: Apache-2.0
"""`offramp demo`, for real but short: its figures add up, and it leaves nothing behind, whatever ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.processes import gone
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed

NAMES = ["kernel-socket", "iptables-raw", "offramp-user", "offramp-driver"]
COMMAND = [sys.executable, "-c", "import sys; from offramp.cli import main; sys.exit(main())", "demo"]
PATIENCE = 60.0


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo.png"


@pytest.fixture(scope="module")
def result(picture: Path) -> dict[str, Any]:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    done = demo("--json", "--seconds", "1", "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)  # all of stdout is one document
    return found


def test_all_four_take_part_in_their_order(result: dict[str, Any]) -> None:
    assert [contender["name"] for contender in result["contenders"]] == NAMES
    assert not any("skipped" in contender for contender in result["contenders"])


@pytest.mark.parametrize("place", range(4), ids=NAMES)
def test_each_one_receives_and_its_figures_add_up(result: dict[str, Any], place: int) -> None:
    contender = result["contenders"][place]
    assert 0 < contender["received"] <= contender["sent"]
    assert contender["received"] + contender["lost"] == contender["sent"]
    assert contender["pps"] == pytest.approx(contender["received"] / contender["seconds"], rel=0.01)
    split = contender["cpu_ns_receiver"] + contender["cpu_ns_softirq"]
    assert contender["cpu_ns_per_packet"] == pytest.approx(split, abs=0.2)
    assert 10 < contender["cpu_ns_softirq"] < 100_000
    in_application = contender["name"] in ("kernel-socket", "offramp-user")
    assert in_application == (contender["cpu_ns_receiver"] > 10)
    if not in_application:  # what the interface took in, they have: the sender's count and theirs are one
        assert 0 <= contender["received"] + contender["refused"] - contender["sent"] < 100


@pytest.mark.parametrize("place", range(4), ids=NAMES)
def test_the_kernel_serves_meanwhile(result: dict[str, Any], place: int) -> None:
    http = result["contenders"][place]["http"]
    assert http["errors"] == 0
    assert 0 < http["requests"] <= http["due"]
    assert 0 < http["p50_ms"] <= http["p99_ms"]
    assert result["baseline"]["errors"] == 0


def test_the_ledger_is_exact_at_rest(result: dict[str, Any]) -> None:
    user, driver = result["contenders"][2:]
    ledger = result["ledger"]
    assert ledger["exact"] is True
    assert (ledger["redirect_lost"], ledger["waiting"], ledger["redirect_failed"]) == (0, 0, 0)
    assert ledger["received"] == user["received"]
    assert ledger["passed"] > 0  # HTTP
    assert ledger["claimed"] == ledger["received"] + ledger["lost"]
    assert 0 <= ledger["claimed"] + user["refused"] - user["sent"] < 100
    assert result["driver_ledger"]["dropped"] == driver["received"]


def test_it_says_who_shares_a_cpu(result: dict[str, Any]) -> None:
    placement = result["placement"]
    assert placement["flood"] == placement["http_client"]
    assert placement["napi"] == placement["contender"] == placement["http_server"]
    assert f"CPU {placement['napi']} is host b's" in result["notes"][0]


def test_it_draws_a_picture(result: dict[str, Any], picture: Path) -> None:
    assert result["plot"] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")


def test_without_iptables_the_others_take_part(tmp_path: Path) -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    (tmp_path / "setpriv").symlink_to(setpriv)
    done = demo("--seconds", "0.5", "--plot", str(tmp_path / "demo.png"), PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "iptables-raw was skipped: no iptables in PATH (apt install iptables)" in done.stdout
    table, _, _ = done.stdout.partition("iptables-raw was skipped")
    rows = {name: cells for name, *cells in map(str.split, filter(str.strip, table.splitlines()))}
    assert rows["iptables-raw"][0] == "-"
    assert all(float(rows[name][1]) > 0 for name in NAMES if name != "iptables-raw")
    assert "it adds up" in " ".join(done.stdout.split())


def test_without_privileges_it_names_them() -> None:
    """Before anything else that may be in the way: here the picture could not be written either."""
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *COMMAND, "--plot", "/nowhere/demo.png"]
    done = subprocess.run(bare, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    for capability in ("CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"):
        assert capability in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seconds", "0"], "--seconds 0: not from "),
        (["--plot", "/nowhere/demo.png"], "cannot write /nowhere/demo.png"),
        (["--plot", "demo.xyz"], "--plot demo.xyz: not a .png file"),
    ],
)
def test_bad_input_is_refused_at_once(arguments: list[str], complaint: str) -> None:
    done = demo(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert complaint in line


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_remains_when_it_is_ended(end: signal.Signals, tmp_path: Path) -> None:
    """In the middle of a flood. Namespaces need no look of their own: they live no longer than what is inside them."""
    command = [*COMMAND, "--seconds", "10", "--plot", str(tmp_path / "demo.png")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert eventually(lambda: _floods(process.pid), PATIENCE), "no flood"
            actors = list(_descendants(process.pid))
            process.send_signal(end)
            _, complaint = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == (130 if end is signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in complaint
    assert all(gone(pid) for pid in actors), actors


def _floods(demo: int) -> bool:
    return any("offramp.gen.generator" in _cmdline(pid) for pid in _descendants(demo))


def _descendants(pid: int) -> Iterator[int]:
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = [int(child) for child in children.read_text().split()]
        except OSError:  # that thread has ended
            continue
        for child in found:
            yield child
            yield from _descendants(child)


def _cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
