# SPDX-License-Identifier: Apache-2.0
"""What is never diverted: the packets without which a link, a route or an operator's login is lost. Pure: no I/O.

table.py       the rows: what, why, the match that recognises it, the source
found.py       rows made of what nic/found.py has found on this machine
meet.py        which packets can meet several matches at once: what of the table a match can meet
factor.py      the rows as one expression, in which each number of a packet is compared in one place
protection.py  Protection: the rows that go into a program, as text, in words and as an expression
"""

from __future__ import annotations

from .meet import Met
from .protection import Protection
from .table import KEPT, PROTECTED, ROWS, Row

__all__ = ["KEPT", "PROTECTED", "ROWS", "Met", "Protection", "Row"]
