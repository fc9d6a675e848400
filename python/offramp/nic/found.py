# SPDX-License-Identifier: Apache-2.0
"""Connections and daemons that a ramp leaves to the kernel, besides what it always leaves there: SSH on ports other
than 22, and the protocols of facts/found.py that keep a route alive.

    ports      on which root's SSH server (sshd, sshd-session, dropbear) listens, except on loopback addresses; on which
               root listens, and such a server has a connection; the server's port of $SSH_CONNECTION
    sessions   on other ports: established connections that such a server or anybody's client (ssh, dbclient) holds; of
               anybody to or from BGP's port, if BGP itself is not found; $SSH_CONNECTION itself
    daemons    by their sockets: raw ones, which only privileged processes have; ports of root or of a system user; for
               BGP, a privileged port where somebody listens, or a session of root's

Anybody can name a process ssh and open connections. So there is a limit for each user, and for all users together but
root and the caller. What is over it is counted, for each user, and the plan tells. Nobody's sessions take the place of
root's or the caller's, and not much time is spent on what somebody else has.

So a session stays protected when its server restarts, moves to another port or ends. On ports other than 22, these are
*not* found: a server that starts later or has another name; a session that begins later, on a port that was not found;
and, unless we are root, the sockets of other users.

The tables are those of the calling thread's network namespace. This takes some milliseconds, or more if there are ten
thousands of connections. Source: proc(5), proc_net_tcp in Documentation/networking; ssh(1), section ENVIRONMENT.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain, islice, zip_longest
from typing import Final, NamedTuple

from offramp.facts.found import DAEMONS, Found, Session
from offramp.syscalls.failure import if_there
from offramp.syscalls.procfs import Process, content, processes, raw

__all__ = ["find"]

_SERVERS = ("sshd", "dropbear")  # the start of their processes' names
_CLIENTS = frozenset({"ssh", "dbclient"})
_ESTABLISHED, _LISTEN, _UNCONNECTED = b"01", b"0A", b"07"  # include/net/tcp_states.h
_SSH: Final = 22  # always protected
_ROOT: Final = 0
_FIRST_PERSON: Final = 1000  # users below are of the system: SYS_UID_MAX of login.defs(5) is 999

_MOST_OF_TRUSTED: Final = 64  # sessions of root, and as many of the caller
_MOST_OF_USER: Final = 16  # of each other user
_MOST_OF_OTHERS: Final = 64  # of all of them together
_MOST_DESCRIPTORS: Final = 256  # of a process that somebody else has named like an SSH client
_MOST_PROCESSES: Final = 64  # of one user, with such a name


class _Socket(NamedTuple):
    """A line of a table. Addresses are as they stand there: most are never looked at."""

    state: bytes
    local: bytes
    remote: bytes
    user: int
    inode: int

    @property
    def port(self) -> int:
        """The local port; of a raw socket, its protocol."""
        return int(self.local[-4:], 16)

    @property
    def remote_port(self) -> int:
        return int(self.remote[-4:], 16)

    @property
    def ends(self) -> Session:
        return Session(*_end(self.local), *_end(self.remote))

    @property
    def is_loopback(self) -> bool:
        address = _address(self.local)
        mapped = address[12:] if address[:12] == _MAPPED else b""
        return address == _LOOPBACK or (address if len(address) == 4 else mapped)[:1] == b"\x7f"


_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
_LOOPBACK: Final = bytes(15) + b"\x01"


def find() -> Found:
    """What is found in this thread's network namespace. Only root finds the SSH of other users."""
    listening, connected = _tcp()
    held = _held_sockets()
    ports, of_login = _of_this_login()
    ports |= _ssh_ports(listening, connected, held)
    daemons = _daemons(listening, connected)
    bgp = DAEMONS["BGP"].numbers
    sessions: dict[int, list[_Socket]] = defaultdict(list)
    for each in connected:
        covered = each.port in ports or _SSH in (each.port, each.remote_port)
        owner = held.of.get(each.inode)
        if owner is None and "BGP" not in daemons and (each.port in bgp or each.remote_port in bgp):
            owner = each.user
        if owner is not None and not covered and not each.is_loopback:
            sessions[owner].append(each)
    kept, left_out = _within_limits(sessions)
    for user, count in held.not_looked_at.items():
        left_out[user] = left_out.get(user, 0) + count
    return Found(
        tuple(sorted(ports)),
        tuple(sorted({*of_login, *(each.ends for each in kept)})),
        tuple(sorted(left_out.items())),
        tuple(sorted(daemons)),
    )


def _within_limits(sessions: dict[int, list[_Socket]]) -> tuple[list[_Socket], dict[int, int]]:
    """The sessions that are protected, and how many of which user are not: root's and ours first, then one of each
    other user, another one of each, and so on.
    """
    trusted = {_ROOT, os.geteuid(), os.getuid()}
    limits = {user: _MOST_OF_TRUSTED if user in trusted else _MOST_OF_USER for user in sessions}
    first = {user: sorted(sockets)[: limits[user]] for user, sockets in sorted(sessions.items())}
    kept = [socket for user in trusted & first.keys() for socket in first[user]]
    turns = zip_longest(*(sockets for user, sockets in first.items() if user not in trusted))
    kept += islice((socket for socket in chain(*turns) if socket is not None), _MOST_OF_OTHERS)
    chosen = set(kept)
    cut = {user: sum(socket not in chosen for socket in sockets) for user, sockets in sessions.items()}
    return kept, {user: count for user, count in cut.items() if count}


def _ssh_ports(listening: list[_Socket], connected: list[_Socket], held: _Held) -> set[int]:
    """The ports of root's SSH servers. If systemd listens for one, that has no socket but the connections."""
    served = {each.port for each in connected if each.inode in held.servers}
    return {
        each.port
        for each in listening
        if (each.inode in held.servers or (each.user == _ROOT and each.port in served)) and not each.is_loopback
    }


def _daemons(listening: list[_Socket], connected: list[_Socket]) -> set[str]:
    """The names of DAEMONS that are here."""
    by_table = {
        "raw": {each.port for each in _sockets_of("raw", _UNCONNECTED)},
        "udp": {each.port for each in _sockets_of("udp", _UNCONNECTED) if each.user < _FIRST_PERSON},
        "tcp": {*_privileged_listeners(listening), *_called_by_root(listening, connected)},
    }
    return {name for name, sign in DAEMONS.items() if not by_table[sign.table].isdisjoint(sign.numbers)}


def _privileged_listeners(listening: list[_Socket]) -> Iterator[int]:
    first = _first_unprivileged()
    for each in listening:
        if (each.port < first or each.user == _ROOT) and not each.is_loopback:
            yield each.port


def _called_by_root(listening: list[_Socket], connected: list[_Socket]) -> Iterator[int]:
    """The ports to which root has connected. A caller's port tells nothing: whoever calls chooses it."""
    served = {each.port for each in listening}
    for each in connected:
        if each.user == _ROOT and each.port not in served:
            yield each.remote_port


def _first_unprivileged() -> int:
    """The first port on which anybody may listen."""
    with suppress(OSError, ValueError):
        return int(content("/proc/sys/net/ipv4/ip_unprivileged_port_start"))
    return 1024


def _of_this_login() -> tuple[set[int], set[Session]]:
    """$SSH_CONNECTION: the client's address and port, the server's address and port."""
    with suppress(KeyError, ValueError):
        remote, rport, local, lport = os.environ["SSH_CONNECTION"].split()
        here, there = (_plain(ip_address(end.partition("%")[0])) for end in (local, remote))  # fe80::1%eth0
        session = Session(here, _port(lport), there, _port(rport))
        return {session.lport}, {session}
    return set(), set()


class _Held(NamedTuple):
    """The sockets that processes hold open which are named like an SSH server or client, by inode."""

    servers: set[int]
    of: dict[int, int]  # whose process holds it; root's comes first
    not_looked_at: dict[int, int]  # user, and how many of their processes or descriptors


def _held_sockets() -> _Held:
    held, trusted, looked_at = _Held(set(), {}, {}), {_ROOT, os.geteuid(), os.getuid()}, defaultdict[int, int](int)
    for process in processes():
        with if_there(f"process {process.pid}"):  # else it ended meanwhile, or is somebody else's
            name = process.name.rstrip("\n")
            # Anybody can name a process sshd, and so keep a port from being filtered. So only root's servers count. The
            # name of a client protects only the user's own connections.
            is_client = name in _CLIENTS
            if not is_client and not (name.startswith(_SERVERS) and process.is_roots):
                continue
            user, most = process.users[0], None  # who has started it: a program such as su runs as another user
            if user not in trusted:
                looked_at[user] += 1
                if looked_at[user] > _MOST_PROCESSES:
                    held.not_looked_at[user] = held.not_looked_at.get(user, 0) + 1
                    continue
                most = _MOST_DESCRIPTORS
            for inode in _sockets(process, most):
                held.of[inode] = min(user, held.of.get(inode, user))
                if not is_client:
                    held.servers.add(inode)
    return held


def _sockets(process: Process, most: int | None) -> Iterator[int]:
    """The inodes of the sockets that a process has open, among its first descriptors."""
    for _, target in islice(process.descriptors(), most):
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _tcp() -> tuple[list[_Socket], list[_Socket]]:
    """The listening and the established TCP sockets."""
    listening: list[_Socket] = []
    connected: list[_Socket] = []
    for each in _sockets_of("tcp", _LISTEN, _ESTABLISHED):
        (listening if each.state == _LISTEN else connected).append(each)
    return listening, connected


def _sockets_of(protocol: str, *states: bytes) -> Iterator[_Socket]:
    """Over IPv4 and IPv6."""
    return chain(_table(protocol, states), _table(f"{protocol}6", states))


def _table(name: str, states: Sequence[bytes]) -> Iterator[_Socket]:
    """The sockets in a table of /proc/net that are in one of these states; none where there is no such protocol."""
    lines: list[bytes] = []
    with if_there(f"reading /proc/thread-self/net/{name}"):
        lines = raw(f"/proc/thread-self/net/{name}").split(b"\n")[1:-1]
    for line in lines:
        _, local, remote, state, _, _, _, user, _, inode, *_ = line.split(None, 10)
        if state in states:
            yield _Socket(state, local, remote, int(user), int(inode))


def _address(end: bytes) -> bytes:
    """`0100007F:0016` -> the address's bytes in network order. It is written in 32-bit words of host order."""
    words = bytes.fromhex(end.partition(b":")[0].decode())
    return words if _BIG_ENDIAN else b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))


_BIG_ENDIAN: Final = struct.pack("=I", 1) == b"\0\0\0\x01"


def _end(text: bytes) -> tuple[str, int]:
    """`0100007F:0016` -> 127.0.0.1, 22."""
    address = _address(text)
    return _plain(IPv4Address(address) if len(address) == 4 else IPv6Address(address)), int(text[-4:], 16)


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 1 << 16:
        raise ValueError(text)
    return number


def _plain(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
