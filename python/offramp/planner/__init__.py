# SPDX-License-Identifier: Apache-2.0
"""What is to be done to an interface, and why, before anything is done. Pure: values in, a `Plan` out.

    match + Link (what the interface is now) + Capabilities (what its NIC can do) + Options (what the user wants)
          + Ssh (what must not be lost)         --make_plan()--> Plan(steps) --explain()--> text

    options.py       what the user may ask for, checked
    capabilities.py  what an interface can do; records.py, drivers/: of real drivers; assume.py: of none that is here
    protect.py       the match that is never diverted, whatever the user's match says
    obstacles.py     what stands in the way, and the remedy
    layout.py        hidden queue, VF or in-driver
        widen.py     a match -> flows (flow.py), a superset
        steer.py     flows -> n-tuple rules (typed.py, fit.py)
        bucket.py    flows -> entries of the RSS table
    steps.py         what is done, in order; warn.py: what else to know
    cost.py          what a packet costs: a model
    plan.py          the plan as data; explain.py: for people
    make.py          all of it together

The same inputs give the same plan, to the byte.
"""

from __future__ import annotations

from .assume import assume
from .explain import explain, needed
from .flow import Flow
from .layout import METHODS, Beside, Layout, is_virtual
from .make import can_switch, lacks_for_native, make_plan
from .obstacles import largest_mtu, mtu_refused
from .options import Options
from .plan import Act, Change, Layer, LayoutName, Method, Plan, Step, shortened
from .protect import protection_in_words
from .widen import widened

__all__ = [
    "METHODS",
    "Act",
    "Beside",
    "Change",
    "Flow",
    "Layer",
    "Layout",
    "LayoutName",
    "Method",
    "Options",
    "Plan",
    "Step",
    "assume",
    "can_switch",
    "explain",
    "is_virtual",
    "lacks_for_native",
    "largest_mtu",
    "make_plan",
    "mtu_refused",
    "needed",
    "protection_in_words",
    "shortened",
    "widened",
]
