# SPDX-License-Identifier: Apache-2.0
"""The laws of the house, over all sources: arrows, circles, purity, seams, sizes. rooms.py has the plan as data."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from tests.unit.house import imports, rust
from tests.unit.house.rooms import GROUND, ROOMS, drawn, picture

ROOT = Path(__file__).parents[3]
IMPURE = {"asyncio", "ctypes", "fcntl", "mmap", "multiprocessing", "os", "pathlib", "pyroute2", "select", "signal"}
IMPURE |= {"socket", "subprocess", "sys", "tempfile", "threading", "time", "warnings", "llvmlite.binding"}
MOST_LINES, LONGEST_LINE, LONGEST_ROW = 400, 120, 140

CRATES = sorted(manifest.parent.name for manifest in rust.CRATES.glob("*/Cargo.toml"))

SEAMS = {  # what may be said in these files alone
    r"\bCDLL\(": ("syscalls/bpf.py", "syscalls/netns.py", "gen/generator.py", "llvm/worker.py"),
    r"libc\.syscall\(": ("syscalls/bpf.py",),
    r"\bfcntl\.ioctl\(": ("syscalls/ioctl.py",),
    r"\bregister_at_fork\(|\batexit\.register\b": ("process.py",),
    r"\bAF_NETLINK\b": ("syscalls/netlink.py",),
    r"\b(from|import) pyroute2\b": ("lab/end.py", "lab/host.py", "lab/lab.py", "lab/napi.py"),  # wires for tests
    r"(?m)^@dataclass\(frozen=True(, slots=True)?\)$": (),  # immutable.py says why
    # What /proc, /sys and /run say is read by procfs.py alone. The others read files that users name, and their own.
    r"\.read_(text|bytes)\(|\bget_data\(": ("facts/records.py", "state/files.py"),
    r"(?<![\w.])(?<!def )open\((?!\)|interface)": (
        "cli/streams.py",
        "journal/store.py",
        "journal/watch.py",
        "state/files.py",
        "syscalls/netns.py",
    ),
    r"\bos\.(open|readlink)\b": (
        "cli/streams.py",
        "journal/lock.py",
        "journal/store.py",
        "lab/lab.py",
        "reading.py",
        "state/files.py",
        "syscalls/netns.py",
        "syscalls/procfs.py",
    ),
    r"\bos\.fs(en|de)code\b": ("text.py",),
    r"\.(setns|unshare)\(": ("syscalls/netns.py", "llvm/worker.py"),  # the worker imports nothing of offramp
}


def tracked(*patterns: str) -> list[Path]:
    """The files of the project, by git; those that are there without it."""
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        return [path for pattern in patterns for folder in FOLDERS for path in sorted((ROOT / folder).rglob(pattern))]
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).exists()]


FOLDERS = ("python", "crates", "tests", "bench", "lab", "docs", "examples", "packaging")


def test_every_file_is_in_a_room() -> None:
    faces = {"", "__main__", "_native"}
    assert {imports.room_of(module) for module in imports.graph()} - faces == {*ROOMS, *GROUND}


@pytest.mark.parametrize("room", [*ROOMS, *GROUND])
def test_imports_follow_the_arrows(room: str) -> None:
    """The package's own face, `from offramp import open`, is for those who use it as anybody does."""
    allowed = {room, *GROUND, *(ROOMS[room].imports if room in ROOMS else ())}
    allowed |= {""} if room in ("cli", "bench") else set()
    for module, found in imports.graph().items():
        if imports.room_of(module) == room:
            rooms = {imports.room_of(other) for other in found if other.partition(".")[0] == "offramp"}
            assert rooms <= allowed, f"{module} imports from {', '.join(sorted(rooms - allowed))}"


@pytest.mark.parametrize("room", ROOMS)
def test_no_arrow_stands_for_nothing(room: str) -> None:
    used = {
        imports.room_of(other)
        for module, found in imports.graph().items()
        if imports.room_of(module) == room
        for other in found
        if other.startswith("offramp.")
    }
    assert set(ROOMS[room].imports) <= used, f"{room} does not import all that rooms.py says"


def test_arrows_lead_down() -> None:
    order = [*ROOMS, "_native"]
    for name, room in ROOMS.items():
        assert all(order.index(other) > order.index(name) for other in room.imports), f"{name} imports upwards"


def test_no_files_import_each_other_in_a_circle() -> None:
    assert list(imports.circles(imports.graph())) == []


@pytest.mark.parametrize("crate", CRATES)
def test_no_files_of_a_crate_use_each_other_in_a_circle(crate: str) -> None:
    assert list(imports.circles(rust.graph(crate))) == []


def test_the_scan_of_a_crate_sees_paths_of_all_forms() -> None:
    found = rust.graph("offramp-io")
    assert {"error", "port", "ports::kind", "ports::memory", "sys"} <= found["ports::null"] | found["ports::af_xdp"]
    assert {"ports::options", "ports::suggestion", "ports::af_xdp", "ports::uri"} <= found["ports"]
    assert {"port", "port_queue", "ringed"} <= found[""]
    assert {"elements", "errors", "burst"} <= rust.graph("offramp-py")["code"]


@pytest.mark.parametrize("room", [name for name, room in (ROOMS | GROUND).items() if room.pure])
def test_pure_rooms_do_no_io(room: str) -> None:
    for module, found in imports.graph().items():
        if imports.room_of(module) == room:
            assert not found & IMPURE, f"{module} imports {found & IMPURE}"
            impure = [other for other in ROOMS.get(room, GROUND["errors"]).imports if not ROOMS[other].pure]
            assert not impure, f"{room} is called pure, and imports {impure}"


@pytest.mark.parametrize("pattern", SEAMS)
def test_each_kind_of_system_call_has_one_seam(pattern: str) -> None:
    said = {
        str(source.relative_to(imports.PACKAGE))
        for source in imports.sources()
        if re.search(pattern, "\n".join(line.partition("  #")[0] for line in source.read_text().splitlines()))
    }
    assert said <= set(SEAMS[pattern]), f"{pattern} in {sorted(said - set(SEAMS[pattern]))}"


def test_crates_depend_one_way() -> None:
    allowed = {
        "offramp-wire": set(),
        "offramp-ring": set(),
        "offramp-state": set(),
        "offramp-io": {"offramp-ring", "offramp-state"},
        "offramp-py": {"offramp-io", "offramp-ring", "offramp-state", "offramp-wire"},
    }
    for manifest in (ROOT / "crates").glob("*/Cargo.toml"):
        crate = tomllib.loads(manifest.read_text())
        needs = set(crate.get("dependencies", {}))
        own = {name for name in needs if name.startswith("offramp-")}
        assert own <= allowed[crate["package"]["name"]], f"{crate['package']['name']} depends on {own}"
        assert ("libc" in needs) <= (crate["package"]["name"] == "offramp-io"), (
            f"system calls in {manifest.parent.name}"
        )


def test_the_data_path_calls_libc_in_one_place() -> None:
    """Constants and structures of libc are everybody's; its functions are called in sys/ alone."""
    for name, source in rust.sources("offramp-io").items():
        assert name.startswith("sys/") or not re.search(r"\blibc::[a-z_0-9]+\(", source), name


def test_the_border_has_no_loop_over_packets_no_clock_and_no_sleep() -> None:
    """Types, errors and the gate that releases the GIL. A deadline is made of seconds in seconds.rs.

    No file loops until something happens. Those that know bursts have no loop at all, and ask a burst about all packets
    at once, except for a view of one. What is left to do for each element is to turn Python's values into Rust's.
    """
    for name, source in rust.sources("offramp-py").items():
        assert not re.search(r"\bloop \{|\bwhile [^\"\n]*\{|\bsleep\(", source), name
        assert name == "seconds.rs" or "Instant::now" not in source, name
        if re.search(r"\bBurst\b", source):
            assert not re.search(r"\bfor [^{;]+ in ", source), name
            assert not re.search(r"\.(bytes|bytes_mut|wire_length|timestamp|verdict|take)\([^)]", source), name


def test_the_picture_in_architecture_is_this_plan() -> None:
    assert drawn() == picture(), "python -m tests.unit.house.rooms writes it anew"


def test_architecture_names_files_that_exist() -> None:
    """As a path, or the end of one."""
    there = {f"/{path.relative_to(ROOT)}" for path in tracked("*.py", "*.rs")}
    named = set(re.findall(r"[\w/-]+\.(?:py|rs)\b", (ROOT / "ARCHITECTURE.md").read_text()))
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in there)] == []


def test_no_file_is_two_rooms() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py", "*.rs", "*.pyi")
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert not long


def test_every_source_begins_with_its_licence() -> None:
    for path in tracked("*.py", "*.rs", "*.md"):
        head = path.read_text()[:120]
        assert "SPDX-License-Identifier: Apache-2.0" in head, path


def test_documents_and_crates_have_lines_that_one_can_read() -> None:
    wide = {
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("*.md", "*.rs")
        if path.name != "RESULTS.md"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > (LONGEST_ROW if line.startswith("|") else LONGEST_LINE) and not line.startswith(("<!--", "[!["))
    }
    assert not wide


def test_make_fuzz_tries_more() -> None:
    (profile,) = re.findall(r"--hypothesis-profile (\S+)", (ROOT / "Makefile").read_text())
    assert settings.get_profile(profile).max_examples > settings.get_profile("default").max_examples


def test_no_size_from_outside_is_allocated_on_trust() -> None:
    """Memory for as many elements as somebody says is tried for: where there is none, the process would end."""
    trusted = {
        "sets.rs": 1,
        "bitmap.rs": 1,
        "prefixes.rs": 1,
        "region.rs": 1,
        "tree.rs": 1,
        "code.rs": 1,
    }  # sizes of our own, bounded
    found = Counter[str]()
    for crate in ("offramp-state", "offramp-py"):
        for name, source in rust.sources(crate).items():
            found[name] += len(re.findall(r"with_capacity\(|\bvec!\[[^\]]*;", source))
    assert +found == Counter(trusted), found
