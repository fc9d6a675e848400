# SPDX-License-Identifier: Apache-2.0
"""The manual pages say what `--help` says, and systemd accepts the unit."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[3] / "packaging"
MAN = PACKAGING / "data/data/share/man/man1"


def made() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("man", PACKAGING / "man.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages


def test_the_manual_pages_are_up_to_date() -> None:
    written = {path.name: path.read_text() for path in MAN.glob("*.1")}
    assert written == made(), "make man"


@pytest.mark.parametrize("page", sorted(path.name for path in MAN.glob("*.1")))
def test_a_manual_page_is_one(page: str) -> None:
    """groff finds nothing to complain about, and shows the verb and its options."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    command = ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", str(MAN / page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert all(word in done.stdout for word in ("NAME", "SYNOPSIS", "--help", "SEE ALSO"))


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With a program that is there in place of ours, and a manual page likewise."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (PACKAGING / "offramp-restore.service").read_text()
    assert "ExecStart=offramp restore\n" in unit
    tested = tmp_path / "offramp-restore.service"
    lines = unit.replace("ExecStart=offramp ", "ExecStart=true ").splitlines(keepends=True)
    tested.write_text("".join(line for line in lines if not line.startswith("Documentation=man:")))
    done = subprocess.run(["systemd-analyze", "verify", str(tested)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


README = (PACKAGING.parent / "README.md").read_text()
LINKS = [
    (page, link)
    for page in [PACKAGING.parent / "README.md", *(PACKAGING.parent / "docs").glob("*.md")]
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
]


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 200


def test_the_quick_start_can_be_pasted_whole() -> None:
    """Its commands do not take away what they have made: cleaning up is a block of its own."""
    blocks = re.findall(r"(?:^    .+\n)+", README[README.index("## Quick start") :], re.MULTILINE)
    made = next(block for block in blocks if "netns add" in block)
    assert "del" not in made.split()
    assert sum("netns del far" in block for block in blocks) == 1


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.name}-{link}" for page, link in LINKS])
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    assert (page.parent / link).exists()


def test_the_index_names_every_page() -> None:
    docs = PACKAGING.parent / "docs"
    index = (docs / "README.md").read_text()
    assert {
        page.name for page in docs.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index
    } == set()
