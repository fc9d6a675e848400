# SPDX-License-Identifier: Apache-2.0
"""`offramp.Match`: a match with its sets, to be asked about packets or put onto an interface.

match.py     Match
services.py  the names of services and protocols on this system
hosts.py     the names of hosts and networks, where they are to be looked up
"""

from __future__ import annotations

from offramp.matcher.match import Match

__all__ = ["Match"]
