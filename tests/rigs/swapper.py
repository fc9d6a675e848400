# SPDX-License-Identifier: Apache-2.0
"""Two interfaces of this network namespace swap their names, as fast as the kernel renames.

python swapper.py ONE OTHER       until a line comes on stdin; then they have their own names again, and it prints
                                  how often they have swapped
"""

from __future__ import annotations

import select
import socket
import sys

from offramp.syscalls import netlink

IFNAME = 3


def rename(ifindex: int, name: str) -> None:
    netlink.set_link(ifindex, name, netlink.attribute(IFNAME, name.encode() + b"\0"))


def swap(one: int, other: int, names: tuple[str, str]) -> None:
    rename(one, "between")
    rename(other, names[0])
    rename(one, names[1])


def main() -> None:
    names = sys.argv[1], sys.argv[2]
    one, other = map(socket.if_nametoindex, names)
    print("ready", flush=True)
    swaps = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        swap(one, other, names)
        swap(other, one, names)
        swaps += 2
    print(swaps, flush=True)


if __name__ == "__main__":
    main()
