# SPDX-License-Identifier: Apache-2.0
"""Names of hosts and networks, looked up once, where that is asked for: `host www.example.org`, `net loopback`.

The system's resolver answers (getaddrinfo(3): /etc/hosts, DNS, or what nsswitch.conf(5) names), for the network
namespace of the thread; networks are those of /etc/networks (networks(5)). An answer is not to be trusted: what is no
address of a host is refused, and so are more addresses than anybody means.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

from offramp import reading
from offramp.match.names import NotFound
from offramp.match.network import Network
from offramp.match.numbers import ipv4

__all__ = ["Hosts"]

PATIENCE: Final = 10.0  # seconds for all names of a match
MOST: Final = 256  # addresses of one name
_MOST_BYTES: Final = 1 << 20  # of the file
NETWORKS: Final = Path("/etc/networks")
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")  # inet_aton(3) takes 0x7f.1 for an address
_WRITE = "write the address"
_ANOTHER = "is the name right? 'offramp run' has -n, which looks up none"


class Hosts:
    """Looks up each name once, and remembers the answers, by the names as they were written."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[Network, ...]] = {}
        self._until: float | None = None

    def host(self, name: str) -> tuple[Network, ...]:
        """All addresses of a host, at least one. Errors: NotFound."""
        if name not in self.found:
            if not _NAME.fullmatch(name) or _NUMBER.fullmatch(name):
                raise NotFound("no host can be called so", _WRITE)
            self.found[name] = _addresses(self._answers(name))
        return self.found[name]

    def net(self, name: str) -> Network:
        """A network of /etc/networks. Errors: NotFound."""
        if name not in self.found:
            self.found[name] = (_network(name),)
        return self.found[name][0]

    def _answers(self, name: str) -> list[str]:
        """What the resolver says, as text. It runs in a thread: nothing can end it, but we need not wait."""
        import socket
        import threading

        outcome: list[list[str] | OSError] = []

        def ask() -> None:
            try:
                found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
                outcome.append([str(address[0]) for _, _, _, _, address in found])
            except OSError as error:
                outcome.append(error)

        self._until = self._until or time.monotonic() + PATIENCE
        thread = threading.Thread(target=ask, name="offramp-resolve", daemon=True)
        thread.start()
        thread.join(max(self._until - time.monotonic(), 0))
        if not outcome:
            raise NotFound(f"the resolver did not answer within {PATIENCE:g} s", _WRITE)
        (answer,) = outcome
        if isinstance(answer, socket.gaierror) and answer.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            raise NotFound("there is no such host", _ANOTHER)
        if isinstance(answer, OSError):
            raise NotFound(f"it cannot be looked up now ({answer.strerror})", _WRITE)
        return answer


def _addresses(answers: list[str]) -> tuple[Network, ...]:
    from ipaddress import ip_address

    networks = []
    for answer in dict.fromkeys(answers):
        address = ip_address(answer.partition("%")[0])
        if address.is_unspecified or address.is_multicast:
            raise NotFound(f"its address is said to be {address}, which no host has", _WRITE)
        networks.append(Network.prefix(address.version, int(address), address.max_prefixlen))
    found = tuple(dict.fromkeys(networks))
    if len(found) > MOST:
        raise NotFound(f"it has {len(found)} addresses, and at most {MOST} are taken", "put them into a set")
    if not found:
        raise NotFound("there is no such host", _ANOTHER)
    return found


def _network(name: str) -> Network:
    """Bytes that are 0 at the end of a network's number are those of its hosts."""
    try:
        lines = reading.content(f"net {name}", NETWORKS, _MOST_BYTES).decode(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) < 2 or name not in (words[0], *words[2:]) or not re.fullmatch(r"[0-9]+(\.[0-9]+){0,3}", words[1]):
            continue
        number = ipv4(re.sub(r"(\.0+)+\Z", "", words[1]))
        if number is not None:
            return Network.prefix(4, *number)
    raise NotFound(f"{NETWORKS} has no such network", "write it as 10.0.0.0/8")
