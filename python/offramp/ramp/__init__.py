# SPDX-License-Identifier: Apache-2.0
"""The live bypass: a plan carried out on an interface, and taken back.

ramp.py             `open`, `attach`, `ramps`, Ramp: an attachment with a port
attachment.py       Attachment: a verdict in force, its ledger, its end
lifetime.py         what this process holds: forgotten, forked, at the end
execution.py        a plan carried out, one object for each attempt
replacing.py        another match takes the place of one that is in force
wanted.py           what was asked for, and what attempts have taught
holdings.py         what an attempt has acquired, and how that ends
sockets.py          sockets, bound to queues and found by the program
virtual_function.py the interface of a VF: brought here, made quiet, opened
interface.py        what ramps share on an interface: lock, journal, program, RSS table
section.py          one ramp's part of that program
planned.py          plans for interfaces of this machine, and their programs
events.py           what happens while it is open
sources.py          where events come from
observe.py          whether steered packets arrive
ask.py              whom to ask for packets of a silent flow
flap.py             how long a carrier is gone for XDP
ledger.py           the account of every packet
"""

from __future__ import annotations

from offramp.ramp.events import Event, EventKind
from offramp.ramp.ramp import Attachment, Ramp, attach, open, ramps

__all__ = ["Attachment", "Event", "EventKind", "Ramp", "attach", "open", "ramps"]
