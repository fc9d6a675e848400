# SPDX-License-Identifier: Apache-2.0
"""The first root of a guest, some 2 MB: busybox, the modules that reach the host's files, and `init`.

An archive of cpio's "newc" form. Source: Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import gzip
import lzma
import stat
from pathlib import Path

__all__ = ["closure", "write_initrd"]

MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
INIT = Path(__file__).with_name("init.sh")


def write_initrd(target: Path, busybox: Path, modules: Path) -> None:
    """Written in one step."""
    entries = [_entry(name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "modules", "proc", "sys")]
    entries.append(_entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()))
    entries.append(_entry("init", stat.S_IFREG | 0o755, INIT.read_bytes()))
    for number, module in enumerate(closure(modules, MODULES)):  # in the order in which they are to be loaded
        entries.append(_entry(f"modules/{number:02}.ko", stat.S_IFREG | 0o644, _unpacked(modules / module)))
    entries.append(_entry("TRAILER!!!", 0, b""))
    partial = target.with_name(f"{target.name}.partial")
    partial.write_bytes(gzip.compress(b"".join(entries), 1))
    partial.rename(target)


def closure(modules: Path, names: tuple[str, ...]) -> list[str]:
    """The files of these modules and of all they depend on, those first: from modules.dep, which depmod wrote."""
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        needs[Path(file).name.partition(".")[0].replace("-", "_")] = (file, rest.split())
    found: dict[str, None] = {}
    for name in names:
        if name in needs:  # or it is built in
            file, behind = needs[name]
            found |= dict.fromkeys([*reversed(behind), file])
    return list(found)


def _unpacked(module: Path) -> bytes:
    return lzma.decompress(module.read_bytes()) if module.suffix == ".xz" else module.read_bytes()


def _entry(name: str, mode: int, data: bytes) -> bytes:
    """Thirteen numbers of eight hexadecimal digits, name, data; both end at a multiple of four."""
    path = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08x" % number for number in numbers)
    return b"".join(_padded(part) for part in (header + path, data))


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)
