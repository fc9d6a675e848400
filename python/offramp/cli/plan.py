# SPDX-License-Identifier: Apache-2.0
"""`offramp plan`: EXPLAIN for packets."""

from __future__ import annotations

import json

from offramp.cli.options import (
    AsJson,
    Copying,
    Do,
    Frames,
    Interface,
    Mode,
    NoProtect,
    Queue,
    Require,
    Ring,
    Sets,
    Stall,
    WhatToDo,
    Words,
    chosen,
    matching,
)

__all__ = ["plan"]


def plan(
    interface: Interface,
    match: Words,
    do: WhatToDo = Do.COUNT,
    as_json: AsJson = False,
    mode: Mode = None,
    copying: Copying = None,
    require: Require = None,
    queue: Queue = None,
    frames: Frames = None,
    ring: Ring = None,
    stall: Stall = None,
    no_protect: NoProtect = False,
    sets: Sets = None,
) -> None:
    """Explain what `run` would do. Changes nothing.

    \b
    offramp plan eth0 udp dst port 53
    offramp plan eth0 'tcp and (port 80 or port 443)' --do drop --json

    Needs no privileges, except to find SSH servers on other ports than 22 (root), which are to be protected.
    """
    from offramp.attachment import plan_for

    options = chosen(
        do,
        mode=mode,
        copying=copying,
        require=require,
        queue=queue,
        frames=frames,
        ring=ring,
        stall=stall,
        no_protect=no_protect,
    )
    made = plan_for(interface, matching(match, sets), do.verdict, options)
    print(json.dumps(made.to_dict()) if as_json else made)
