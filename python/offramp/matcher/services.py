# SPDX-License-Identifier: Apache-2.0
"""The names of services and protocols on this system, for matches such as `port http` and `ip proto \\gre`.

The C library answers (getservbyname(3), getprotobyname(3): /etc/services, /etc/protocols, or what nsswitch.conf(5)
names). So a name means the same as in tcpdump. Without the files, matches with numbers still work.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from offramp.match.names import PROTOCOLS, Names

if TYPE_CHECKING:
    from typing import Literal

    from offramp.matcher.hosts import Hosts

SERVICES = "/etc/services"


def system(hosts: Hosts | None = None) -> Names:
    """The names that this system knows; those of hosts and networks with `hosts`. Reads files when the first name is
    looked up.
    """
    known = os.path.exists(SERVICES)
    hint = (
        f"{SERVICES} has no such service: write the number"
        if known
        else f"this system has no {SERVICES}: write the number"
    )
    if hosts is None:
        return Names(_service, _protocol, hint)
    return Names(_service, _protocol, hint, hosts.host, hosts.net)


def _service(name: str, protocol: Literal["tcp", "udp"]) -> int | None:
    import socket

    try:
        return socket.getservbyname(name, protocol)
    except OSError:  # without an errno: also if the files could not be opened
        return None


def _protocol(name: str) -> int | None:
    import socket

    try:
        return socket.getprotobyname(name)
    except OSError:
        return PROTOCOLS.get(name)
