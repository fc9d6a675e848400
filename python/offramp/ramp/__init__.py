# SPDX-License-Identifier: Apache-2.0
"""The live bypass: a plan carried out on an interface, and taken back.

ramp.py             `open`, `attach`, Ramp: an attachment with a port
attachment.py       a plan carried out, step by step
interface.py        what ramps share on an interface: lock, journal, program, RSS table
virtual_function.py the interface of a VF: brought here, made quiet, opened
planned.py          plans for interfaces that are here, and their programs
observe.py          whether what was steered arrives
ask.py              whom a silent flow can be asked for
flap.py             how long a carrier is gone for XDP
ledger.py           the account of every packet
"""

from __future__ import annotations

from offramp.ramp.ramp import Attachment, Ramp, attach, open

__all__ = ["Attachment", "Ramp", "attach", "open"]
