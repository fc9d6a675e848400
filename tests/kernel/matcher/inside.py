# SPDX-License-Identifier: Apache-2.0
"""Run by test_hosts.py in namespaces of its own: files of /etc are those of a folder, and 127.0.0.1 is the DNS server.

python inside.py FOLDER MATCH...    prints what becomes of each match, as JSON
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import subprocess
import sys
import threading
from ipaddress import ip_address
from pathlib import Path

_A, _AAAA = 1, 28
_NO_SUCH_NAME = 3


def mount(folder: Path) -> None:
    for name in ("hosts", "networks", "resolv.conf", "nsswitch.conf"):
        there = Path("/etc", name).resolve()
        if there.exists():
            subprocess.run(["mount", "--bind", folder / name, there], check=True)


def serve(sock: socket.socket, answers: dict[str, list[str] | None]) -> None:
    """DNS over UDP (RFC 1035). A name without answers does not exist; None: no answer ever comes."""
    while True:
        query, peer = sock.recvfrom(512)
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        (kind,) = struct.unpack_from("!H", query, at + 1)
        name, question = ".".join(labels).lower(), query[12 : at + 5]
        found = answers.get(name, [])
        if found is None or name.startswith("silent"):
            continue
        addresses = [ip_address(each) for each in found]
        right = [each.packed for each in addresses if each.version == (4 if kind == _A else 6)]
        right = right if kind in (_A, _AAAA) else []
        flags = 0x8180 | (_NO_SUCH_NAME if not found else 0)
        records = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(each)) + each for each in right)
        sock.sendto(query[:2] + struct.pack("!HHHHH", flags, 1, len(right), 0, 0) + question + records, peer)


def outcome(folder: Path, match: str) -> list[str]:
    from offramp import Match, OfframpError
    from offramp.cli import main
    from offramp.matcher import hosts

    if (folder / "patience").exists():
        hosts.PATIENCE = float((folder / "patience").read_text())  # type: ignore[misc]
    if (folder / "verb").exists():
        verb, *options = (folder / "verb").read_text().split()
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            limit = ["--do", "drop", "--for", "0.05", "--json"] if verb == "run" else []
            main([verb, "near", match, *options, *limit])
        return out.getvalue().splitlines()
    try:
        return [str(Match(match) if (folder / "unasked").exists() else Match.resolved(match))]
    except OfframpError as error:
        return [f"{type(error).__name__}: {error}"]


def main(folder: Path, matches: list[str]) -> None:
    mount(folder)
    subprocess.run(["ip", "link", "add", "near", "type", "veth", "peer", "name", "far"], check=True)
    for link in ("lo", "near", "far"):
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))
    answers = json.loads((folder / "answers").read_text())
    threading.Thread(target=serve, args=(sock, answers), daemon=True).start()
    print(json.dumps([line for match in matches for line in outcome(folder, match)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
