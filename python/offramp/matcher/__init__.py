# SPDX-License-Identifier: Apache-2.0
"""`offramp.Match`: a match with its sets, to be asked about packets or put onto an interface.

match.py     Match
services.py  what this system calls its services and protocols
"""

from __future__ import annotations

from offramp.matcher.match import Match

__all__ = ["Match"]
