# SPDX-License-Identifier: Apache-2.0
"""What is to be done to an interface, and why, before anything is done. Pure: values in, a `Plan` out.

    Situation    match and verdict, Options (what the user wants), Link (what the interface is now), Capabilities (what
        |        its NIC can do), Protection (what must not be lost), other ramps, what was tried
    make_plan()
        |
      Plan       steps, warnings and costs ──explain()──> text

    situation.py     what a plan is made from
    obstacles.py     what stands in the way, and the remedy
    native.py        why XDP cannot run in the driver
    assume.py        what is assumed of an interface that is not on this machine
    choose.py        hidden queue, VF or in-driver
        hide.py      a hidden queue     layout.py   their result, and what they share
        give_vf.py   a virtual function
        widen.py     a match -> flows (flow.py), a superset
        steer.py     flows -> n-tuple rules (typed.py, fit.py)
        narrow.py    a narrower match that a NIC can bring: for hints
        bucket.py    flows -> entries of the RSS table
    steps.py         the steps, in order; warn.py: what else the user has to know
    cost.py          what a packet costs: a model
    plan.py          the plan as data; explain.py: the plan in words
    make.py          make_plan: puts it all together

The same situation gives the same plan, to the byte.
"""

from __future__ import annotations

from offramp.options import Options

from .assume import assume
from .explain import explain, needed
from .flow import Flow
from .layout import Layout
from .make import can_switch, make_plan
from .native import lacks_for_native
from .obstacles import COPIED, ETHERNET, check_type, largest_mtu, mtu_refused
from .plan import METHODS, Act, Change, Layer, LayoutName, Method, Plan, Step, shortened
from .situation import Beside, Situation, is_virtual
from .warn import NO_PACKET
from .widen import widened

__all__ = [
    "COPIED",
    "ETHERNET",
    "METHODS",
    "NO_PACKET",
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
    "Situation",
    "Step",
    "assume",
    "can_switch",
    "check_type",
    "explain",
    "is_virtual",
    "lacks_for_native",
    "largest_mtu",
    "make_plan",
    "mtu_refused",
    "needed",
    "shortened",
    "widened",
]
