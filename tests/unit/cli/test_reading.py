# SPDX-License-Identifier: Apache-2.0
"""Every option that takes a file, with every kind of file: read, or refused by name, within bounds."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offramp import reading
from offramp.cli import main
from offramp.errors import OptionError
from offramp.state import files

OPTIONS = {
    "--set": ["plan", "lo", "src host in @b", "--set", "b={}"],
    "-F": ["plan", "lo", "-F", "{}"],
    "--caps": ["plan", "lo", "udp", "--caps", "{}"],
}


def large(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return path


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def bound(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return path


def linked(path: Path) -> Path:
    path.symlink_to(path)
    return path


def directory(path: Path) -> Path:
    path.mkdir()
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "zeros": lambda path: Path("/dev/zero"),
    "random": lambda path: Path("/dev/urandom"),
    "full": lambda path: Path("/dev/full"),
    "terminal": lambda path: Path("/dev/ptmx"),
    "directory": directory,
    "pipe without a writer": fifo,
    "socket": bound,
    "link to itself": linked,
    "missing": lambda path: path,
    "huge": large,
    "memory": lambda path: Path("/proc/self/mem"),
    "endless": lambda path: Path("/proc/self/pagemap"),
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_file_is_read_without_end(
    option: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 0.2)
    monkeypatch.setattr(files, "MOST", 1 << 22)
    path = KINDS[kind](tmp_path / "file")
    assert main([argument.format(path) for argument in OPTIONS[option]]) > 0
    said = capsys.readouterr().err
    assert str(path) in said or option == "-F", said
    assert "bug" not in said


@contextmanager
def written(path: Path, pieces: int) -> Iterator[None]:
    def write() -> None:
        try:
            with path.open("wb") as file:
                for _ in range(pieces):
                    file.write(bytes(1 << 16))
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_pipe_is_read_to_its_end_or_to_the_bound(tmp_path: Path) -> None:
    """As a shell gives one: `--set b=<(curl ...)`."""
    path = fifo(tmp_path / "pipe")
    with written(path, 40):
        assert len(reading.content("it", path, 1 << 30)) == 40 << 16
    with written(path, 40):
        assert len(reading.content("it", path, 1 << 20)) == (1 << 20) + 1


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with written(path, 3000):
        assert len(reading.content("it", path, 1 << 16)) <= (1 << 16) + 1


def test_nothing_is_read_of_nothing() -> None:
    assert reading.content("it", "/dev/null", 10) == b""


def test_a_set_has_a_largest_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST", 30)
    path = tmp_path / "set"
    path.write_text("10.0.0.1\n" * 3)
    assert files.read(path)[0] == "10.0.0.1\n" * 3
    path.write_text("10.0.0.1\n" * 4)
    with pytest.raises(OptionError, match="no set is that large"):
        files.read(path)
