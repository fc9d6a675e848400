# SPDX-License-Identifier: Apache-2.0
"""The NIC lab without its guests: kernels by pattern, the initrd, which tests go where, what is reported."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest

from lab.nic import choice, initrd
from lab.nic.guest import Ended
from lab.nic.kernels import KERNELS, allows, newest
from lab.nic.machines import MACHINES, arguments
from lab.nic.report import GuestReport, summary

ROOT = Path(__file__).parents[3]


def test_the_newest_kernel_of_the_first_pattern_that_finds_one() -> None:
    stable, _, recent = KERNELS
    names = ["linux-image-6.1.0-9-amd64", "linux-image-6.1.0-50-amd64", "linux-image-6.1.0-51-amd64-unsigned"]
    assert newest(stable, names) == "linux-image-6.1.0-50-amd64"
    assert newest(recent, names) is None
    names += ["linux-image-6.17.8+deb13-amd64", "linux-image-7.3.4+deb13-amd64", "linux-image-7.0.9+deb13-cloud-amd64"]
    assert newest(recent, names) == "linux-image-6.17.8+deb13-amd64"
    names += ["linux-image-6.18.9+deb13-amd64", "linux-image-6.18.15+deb13-amd64"]
    assert newest(recent, names) == "linux-image-6.18.15+deb13-amd64"


def test_conditions_of_kernels() -> None:
    assert [allows(condition, "6.12") for condition in ("", ">=6.12", "<6.12", "6.12", ">=6.2", ">=6.1,<6.14")] == [
        True, True, False, True, True, True,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="not of the form"):
        allows("newer", "6.12")


def test_two_nics_of_each_machine_on_one_wire() -> None:
    for machine in MACHINES:
        words = arguments(machine)
        assert words.count("-netdev") == (2 if machine.device else 0)
        assert sum(word.startswith("pcie-root-port") for word in words) == (2 if machine.device else 0)


def test_modules_come_after_those_that_they_need(tmp_path: Path) -> None:
    lines = ("kernel/a/top-one.ko.xz: kernel/a/middle.ko kernel/a/base.ko", "kernel/a/middle.ko: kernel/a/base.ko")
    (tmp_path / "modules.dep").write_text("\n".join([*lines, "kernel/a/base.ko:"]))
    found = initrd.closure(tmp_path, ("middle", "top_one", "built_in"))
    assert found == ["kernel/a/base.ko", "kernel/a/middle.ko", "kernel/a/top-one.ko.xz"]


def test_the_initrd(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text("virtio_pci.ko.xz:")
    (tmp_path / "virtio_pci.ko.xz").write_bytes(lzma.compress(b"module"))
    (tmp_path / "busybox").write_bytes(b"program")
    initrd.write_initrd(tmp_path / "initrd", tmp_path / "busybox", tmp_path)
    archive = gzip.decompress((tmp_path / "initrd").read_bytes())
    files, at = {}, 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = archive[at + 110 : at + 110 + numbers[11] - 1].decode()
        start = at + (110 + numbers[11] + 3) // 4 * 4
        files[name] = (numbers[1], archive[start : start + numbers[6]])
        at = (start + numbers[6] + 3) // 4 * 4
    assert files["bin/busybox"] == (0o100755, b"program")
    assert files["modules/00.ko"] == (0o100644, b"module")
    assert list(files)[-1] == "TRAILER!!!"


def test_tests_go_where_their_marks_say(tmp_path: Path) -> None:
    (tmp_path / "test_marks.py").write_text(
        "import pytest\n"
        "@pytest.mark.nic('igb', kernels='>=6.14')\ndef test_one(): pass\n"
        "@pytest.mark.nic(kernels='6.12')\ndef test_all(): pass\n"
        "@pytest.mark.nic('igb')\ndef test_old_and_new(): pass\n"
        "def test_kernel(): pass\n"
        "@pytest.mark.speed\ndef test_fast(): pass\n"
        "@pytest.mark.since('6.8')\ndef test_new(): pass\n"
    )
    arguments = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path)]

    def chosen(asked: tuple[str, ...] = ()) -> dict[tuple[str, str], list[str]]:
        return {
            (machine.name, kernel.name): [test.partition("::")[2] for test in tests]
            for (machine, kernel), tests in choice.choose(arguments, asked).items()
        }

    assert chosen() == {
        ("bare", "6.1"): ["test_kernel"],
        ("igb", "6.1"): ["test_old_and_new"],
        ("igb", "6.12"): ["test_all"],
        ("virtio-net", "6.12"): ["test_all"],
        ("e1000e", "6.12"): ["test_all"],
        ("igb", "6.18"): ["test_one", "test_old_and_new"],
    }
    assert chosen(("6.12",))["igb", "6.12"] == ["test_all", "test_old_and_new"]


def test_a_mark_with_an_unknown_machine(tmp_path: Path) -> None:
    (tmp_path / "test_other_marks.py").write_text("import pytest\n@pytest.mark.nic('ne2000')\ndef test_one(): pass\n")
    with pytest.raises(ValueError, match="no machine ne2000: one of bare, igb"):
        choice.choose(["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path)])


@pytest.fixture
def report(tmp_path: Path) -> GuestReport:
    return GuestReport("igb 6.12", tmp_path, ["test_one", "test_two"])


def heard(report: GuestReport, *lines: dict[str, object]) -> None:
    (report.share / "results").write_text("".join(json.dumps(line) + "\n" for line in lines))


def ended(test: str, outcome: str = "passed") -> dict[str, object]:
    return {"test": test, "outcome": outcome, "seconds": 1.0, "why": "assert 1 == 2", "text": f"{test} said"}


def test_all_passed(report: GuestReport) -> None:
    heard(report, {"test": "test_one"}, ended("test_one"), {"test": "test_two"}, ended("test_two"))
    report.finish(Ended(0, 10.0))
    assert (report.passed, report.failures) == (2, [])
    assert summary([report], 10.0) == 0


def test_a_skip_has_failed(report: GuestReport, capsys: pytest.CaptureFixture[str]) -> None:
    heard(report, ended("test_one"), ended("test_two", "skipped"))
    report.finish(Ended(0, 10.0))
    assert report.failures == ["igb 6.12: test_two skipped: assert 1 == 2\ntest_two said"]
    assert summary([report], 10.0) == 1
    assert capsys.readouterr().out.splitlines()[-2] == "igb 6.12: test_two skipped: assert 1 == 2"


def test_a_guest_that_died_has_failed_with_its_last_words(report: GuestReport) -> None:
    heard(report, ended("test_one"), {"test": "test_two"})
    (report.share / "console").write_text("BUG: unable to handle page fault")
    report.finish(Ended(None, 10.0, "it died"))
    (failure,) = report.failures
    assert failure.startswith("igb 6.12: it died while test_two ran; nothing was heard of 1 tests\n")
    assert "unable to handle page fault" in failure
