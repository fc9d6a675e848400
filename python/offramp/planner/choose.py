# SPDX-License-Identifier: Apache-2.0
"""Which layout: a hidden queue, a VF, or the driver on every queue.

    hidden queue    RSS leaves a queue out; n-tuple rules bring the flows there. Where the match fixes all that is
                    hashed, entries of the RSS table can do so too. The other queues and their cores stay the kernel's.
    VF              a virtual function, read on its own interface. Only if asked for: VFs cost, see the driver records.
    in-driver       the program and a socket on every queue: works everywhere.

If nothing is asked for, the planner takes a hidden queue if the NIC is known to have what it needs, else in-driver. It
says why.
"""

from __future__ import annotations

from offramp.errors import NotSupported, OptionError
from offramp.planner.give_vf import virtual_function
from offramp.planner.hide import hidden_queue
from offramp.planner.layout import Layout
from offramp.planner.situation import Situation
from offramp.planner.typed import CannotSteer

__all__ = ["choose"]


def choose(situation: Situation, mode: str) -> Layout:
    """Errors: NotSupported, OptionError if the layout asked for is not possible; and those of virtual_function."""
    options, link = situation.options, situation.link
    wanted = options.wanted_layout
    if not situation.claim:
        if wanted in ("hidden-queue", "vf"):
            raise OptionError(f"layout {wanted} without sockets", reason="packets end in the driver")
        return Layout("in-driver", "packets end in the driver, on the queue where they arrive")
    if wanted == "in-driver":
        return Layout("in-driver", "as asked")
    if options.queues is not None:
        return Layout("in-driver", "the queues to listen on were named")
    try:
        able = situation.nic
        if able is None:
            known = situation.able is not None or link.kind is not None
            raise CannotSteer("a virtual interface has no NIC" if known else "what its NIC can do is not known")
        if wanted == "vf":
            return virtual_function(situation, able)
        if mode == "generic" and wanted == "auto":
            raise CannotSteer("in generic mode the packets are already in the kernel")
        return hidden_queue(situation, able)
    except CannotSteer as cannot:
        if wanted != "auto":
            what = "a VF" if wanted == "vf" else "a hidden queue"
            raise NotSupported(f"{what} on {link.name}", reason=cannot.reason, hint=cannot.hint) from None
        hint = f" ({cannot.hint})" if cannot.hint else ""
        return Layout("in-driver", f"no hidden queue: {cannot.reason}{hint}")
