# SPDX-License-Identifier: Apache-2.0
"""What is to be done to an interface, and why, before anything is done. Pure: values in, a `Plan` out.

    match + Link (what the interface can do) + Options (what the user wants) + Ssh (what must not be lost)
                                     --make_plan()--> Plan(steps)

    options.py    what the user may ask for, checked
    protect.py    the match that is never diverted, whatever the user's match says
    obstacles.py  what stands in the way, and the remedy
    plan.py       the plan as data, and as text
    make.py       the decisions

The same inputs give the same plan, to the byte.
"""

from __future__ import annotations

from .make import lacks_for_native, make_plan
from .obstacles import largest_mtu, mtu_refused
from .options import Options
from .plan import Layer, Plan, Step, shortened
from .protect import protection_in_words

__all__ = [
    "Layer",
    "Options",
    "Plan",
    "Step",
    "lacks_for_native",
    "largest_mtu",
    "make_plan",
    "mtu_refused",
    "protection_in_words",
    "shortened",
]
