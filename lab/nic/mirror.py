# SPDX-License-Identifier: Apache-2.0
"""Debian packages, found and unpacked without touching this machine's: apt with lists, cache and status of its own.

apt is told that nothing is installed, so that a program comes with all it needs, the C library included: it then runs
on any Linux, whatever is installed there.

Source: apt-get(8), apt.conf(5), sources.list(5), dpkg-deb(1).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Mirror", "MirrorError"]

SUITES = "bookworm bookworm-backports trixie trixie-backports"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEFAULT = "http://deb.debian.org/debian/"


class MirrorError(Exception):
    """What could not be had, and why."""


class Mirror:
    """apt below one directory. Needs apt and dpkg, and Debian's keys; no privileges."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        if missing := [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(tool) is None]:
            raise MirrorError(f"the NIC lab needs {', '.join(missing)}: it unpacks Debian packages")
        if not Path(KEYRING).exists():
            raise MirrorError(f"no {KEYRING}: install debian-archive-keyring")
        for place in ("sources", "state/lists/partial", "cache/archives/partial"):
            (self._directory / place).mkdir(parents=True, exist_ok=True)
        (self._directory / "status").touch()
        stanza = f"Types: deb\nURIs: {_uri()}\nSuites: {SUITES}\nComponents: main\nSigned-By: {KEYRING}\n"
        (self._directory / "sources/debian.sources").write_text(stanza)

    def update(self) -> None:
        """Fetch the lists of packages."""
        self._apt("apt-get", "update", "-qq")

    def names(self, prefix: str) -> list[str]:
        """All packages whose names begin so."""
        return self._apt("apt-cache", "pkgnames", prefix).split()

    def unpack(self, package: str, into: Path) -> None:
        """One package, without what it needs."""
        self._unpack([package], into)

    def unpack_with_all(self, packages: Iterable[str], into: Path) -> None:
        """Packages, and all that they need to run."""
        wanted = list(packages)
        answer = self._apt("apt-get", "install", "--no-install-recommends", "--simulate", *wanted)
        self._unpack(re.findall(r"^Inst (\S+)", answer, re.MULTILINE), into)

    def _unpack(self, packages: list[str], into: Path) -> None:
        """In one step: what was interrupted is not there."""
        debs, partial = self._directory / "debs", into.with_name(f"{into.name}.partial")
        for place in (debs, partial):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        self._apt("apt-get", "download", "-qq", *packages, cwd=debs)
        for deb in sorted(debs.iterdir()):
            _run(["dpkg-deb", "--extract", str(deb), str(partial)])
        shutil.rmtree(debs)
        partial.rename(into)

    def _apt(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": f"{self._directory}/sources",
            "Dir::State": f"{self._directory}/state",
            "Dir::State::status": f"{self._directory}/status",
            "Dir::Cache": f"{self._directory}/cache",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Retries": "3",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",  # the directory may be below one that only root can enter
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return _run([program, *options, *arguments], cwd)


def _uri() -> str:
    """The mirror that this machine uses."""
    try:
        answer = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    except MirrorError:
        return DEFAULT
    return next((uri for uri in answer.split() if uri.rstrip("/").endswith("/debian")), DEFAULT)


def _run(argv: list[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        raise MirrorError(f"{argv[0]} {' '.join(word for word in argv[-3:])}: {'; '.join(said)}")
    return done.stdout
