# SPDX-License-Identifier: Apache-2.0
"""SSH on ports other than 22. A ramp passes it to the kernel, besides TCP port 22, which it always passes.

    ports      on which root's SSH server (sshd, sshd-session, dropbear) listens, except on loopback addresses;
               the server's port of $SSH_CONNECTION
    sessions   established connections that such a server or anybody's client (ssh, dbclient) holds, or on one
               of these ports; $SSH_CONNECTION itself

So a session stays protected when its server restarts, moves to another port or ends. On ports other than 22, these are
*not* found: a server that starts later or has another name; a session that begins later, on a port that was not found;
and, unless we are root, the sockets of other users.

The tables are those of the calling thread's network namespace. This takes some milliseconds, or more if there are ten
thousands of connections. Source: proc(5), proc_net_tcp in Documentation/networking; ssh(1), section ENVIRONMENT.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

from offramp.facts.ssh import Session, Ssh
from offramp.immutable import immutable
from offramp.syscalls.failure import if_there
from offramp.syscalls.procfs import Process, content, processes

__all__ = ["protected_ssh"]

_SERVERS = ("sshd", "dropbear")  # the start of their processes' names
_CLIENTS = frozenset({"ssh", "dbclient"})
_ESTABLISHED, _LISTEN = 0x01, 0x0A  # include/net/tcp_states.h


@immutable
class _Socket:
    state: int
    ends: Session
    inode: int

    @property
    def is_loopback(self) -> bool:
        return ip_address(self.ends.local).is_loopback


def protected_ssh() -> Ssh:
    """The ports and sessions of SSH in this thread's network namespace. Only root finds those of other users."""
    sockets = [entry for table in ("tcp", "tcp6") for entry in _table(f"/proc/thread-self/net/{table}")]
    servers, clients = _held_sockets()
    ports, sessions = _of_this_login()
    listening = [entry for entry in sockets if entry.state == _LISTEN and not entry.is_loopback]
    ports |= {entry.ends.lport for entry in listening if entry.inode in servers}
    connected = [entry for entry in sockets if entry.state == _ESTABLISHED and not entry.is_loopback]
    held = servers | clients
    sessions |= {entry.ends for entry in connected if entry.inode in held or entry.ends.lport in ports}
    return Ssh(tuple(sorted(ports)), tuple(sorted(sessions)))


def _of_this_login() -> tuple[set[int], set[Session]]:
    """$SSH_CONNECTION: the client's address and port, the server's address and port."""
    with suppress(KeyError, ValueError):
        remote, rport, local, lport = os.environ["SSH_CONNECTION"].split()
        ends = (_plain(ip_address(end.partition("%")[0])) for end in (local, remote))  # fe80::1%eth0
        here, there = ends
        session = Session(here, _port(lport), there, _port(rport))
        return {session.lport}, {session}
    return set(), set()


def _held_sockets() -> tuple[set[int], set[int]]:
    """The inodes of all sockets that processes hold open: first of processes named like an SSH
    server, then a client.
    """
    servers: set[int] = set()
    clients: set[int] = set()
    for process in processes():
        with if_there(f"process {process.pid}"):  # else it ended meanwhile, or is somebody else's
            name = process.name
            # Anybody can name a process sshd, and so keep a port from being filtered. So only root's servers count. The
            # name of a client protects only the user's own connections.
            if name in _CLIENTS:
                clients |= _sockets(process)
            elif name.startswith(_SERVERS) and process.is_roots:
                servers |= _sockets(process)
    return servers, clients


def _sockets(process: Process) -> set[int]:
    """The inodes of the sockets that a process has open."""
    targets = (target for _, target in process.descriptors())
    return {int(target[8:-1]) for target in targets if target.startswith("socket:[")}


def _table(path: str) -> Iterator[_Socket]:
    """The listening and established sockets of /proc/net/tcp or tcp6; none where there is no such protocol."""
    lines: list[str] = []
    with if_there(f"reading {path}"):
        lines = content(path).split("\n")[1:-1]
    for line in lines:
        _, local, remote, state, _, _, _, _, _, inode, *_ = line.split()
        if int(state, 16) in (_ESTABLISHED, _LISTEN):
            yield _Socket(int(state, 16), Session(*_end(local), *_end(remote)), int(inode))


def _end(text: str) -> tuple[str, int]:
    """`0100007F:0016` -> 127.0.0.1, 22. The address is in 32-bit words of host order; the port is a number."""
    address, port = text.split(":")
    words = (int(address[start : start + 8], 16) for start in range(0, len(address), 8))
    raw = b"".join(struct.pack("=I", word) for word in words)
    return _plain(IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)), int(port, 16)


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 1 << 16:
        raise ValueError(text)
    return number


def _plain(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
