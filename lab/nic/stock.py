# SPDX-License-Identifier: Apache-2.0
"""What guests are made of: QEMU and a few tools with all their libraries, and kernels with their modules.

    ~/.cache/offramp-niclab/           or $OFFRAMP_NICLAB_CACHE
        tools/                         QEMU, kmod, busybox, ping, unpacked; nothing is installed
        linux-image-6.12...-amd64/     boot/vmlinuz-*, lib/modules/*, initrd
        apt/                           lists of packages
        runs/igb-6.12/                 of the last run: console, output, results

What is there is used; what is missing is fetched. To get newer kernels, remove the directory.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.nic.initrd import write_initrd
from lab.nic.kernels import Kernel, newest
from lab.nic.mirror import Mirror, MirrorError

__all__ = ["Built", "Stock"]

TOOLS = ("qemu-system-x86", "kmod", "busybox-static", "iputils-ping")


@dataclass(frozen=True, slots=True)
class Built:
    """A kernel, ready to boot."""

    kernel: Kernel
    package: str
    directory: Path

    @property
    def release(self) -> str:
        return self.package.removeprefix("linux-image-")

    @property
    def image(self) -> Path:
        return self.directory / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return _modules(self.directory) / self.release

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd"


class Stock:
    """The cache directory. Errors: MirrorError."""

    def __init__(self, directory: Path | None = None) -> None:
        chosen = os.environ.get("OFFRAMP_NICLAB_CACHE") or Path.home() / ".cache/offramp-niclab"
        self.directory = (directory or Path(chosen)).resolve()
        self.tools = self.directory / "tools"

    def get(self, kernels: Iterable[Kernel]) -> list[Built]:
        """All that is needed to boot these kernels, fetched if it is not here yet."""
        wanted = list(kernels)
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.alone("unpacking"):
            missing = [kernel for kernel in wanted if self._built(kernel) is None]
            if missing or not self.tools.exists():
                self._fetch(missing)
            found = [self._built(kernel) for kernel in wanted]
        return [built for built in found if built is not None]

    def tool(self, program: str, name: str = "") -> list[str]:
        """The words that run an unpacked program, by its place, "usr/bin/kmod", under another name if one is given."""
        loader, library = self.tools / "usr/lib64/ld-linux-x86-64.so.2", self.tools / "usr/lib/x86_64-linux-gnu"
        return [
            str(loader),
            "--argv0",
            name or Path(program).name,
            "--library-path",
            str(library),
            str(self.tools / program),
        ]

    @contextmanager
    def alone(self, with_what: str) -> Iterator[None]:
        """Two runs at once do not unpack into the same place, nor does a guest write where another one does."""
        with open(self.directory / f"{with_what}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _built(self, kernel: Kernel) -> Built | None:
        package = newest(kernel, (path.parent.name for path in self.directory.glob("linux-image-*/initrd")))
        return None if package is None else Built(kernel, package, self.directory / package)

    def _fetch(self, kernels: Iterable[Kernel]) -> None:
        mirror = Mirror(self.directory / "apt")
        print(f"fetching the lists of Debian's packages into {self.directory}", flush=True)
        mirror.update()
        if not self.tools.exists():
            print(f"fetching {', '.join(TOOLS)}, and what they need", flush=True)
            mirror.unpack_with_all(TOOLS, self.tools)
        names = mirror.names("linux-image-")
        for kernel in kernels:
            package = newest(kernel, names)
            if package is None:
                raise MirrorError(
                    f"no kernel {kernel.name} on the mirror: no package like {' or '.join(kernel.patterns)}"
                )
            print(f"fetching {package}", flush=True)
            self._prepare(mirror, Built(kernel, package, self.directory / package))

    def _prepare(self, mirror: Mirror, built: Built) -> None:
        if not built.directory.exists():
            mirror.unpack(built.package, built.directory)
        depmod = self.tool("usr/bin/kmod", "depmod")
        subprocess.run([*depmod, "--basedir", str(built.modules.parents[2]), built.release], check=True)
        write_initrd(built.initrd, self.tools / "usr/bin/busybox", built.modules)


def _modules(directory: Path) -> Path:
    """Since Debian 13 modules are below /usr."""
    usr = directory / "usr/lib/modules"
    return usr if usr.exists() else directory / "lib/modules"
