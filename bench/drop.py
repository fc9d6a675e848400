# SPDX-License-Identifier: Apache-2.0
"""Getting rid of a flood: in the driver, by iptables in raw PREROUTING, and in user space by AF_XDP.

Each contender is set up for its window and taken away again. What is compared is what each accepted: packets dropped
by the rule or by the program, as they count them, and packets received by the application.
"""

from __future__ import annotations

from functools import partial
from statistics import median

from offramp.bench.contender import Contender
from offramp.bench.contenders import CONTENDERS
from offramp.bench.scene import Placement, Scene, scene
from offramp.bench.windows import Ratio, Window, interleave, ratio

SECONDS = 1.5

NAMES = {"iptables raw": "iptables-raw", "driver": "offramp-driver", "AF_XDP": "offramp-native"}


def run(placement: Placement, rounds: int) -> tuple[dict[str, Ratio], dict[str, float], int]:
    """The ratios, the median rates in packets per second, and how many rounds were void."""
    with scene(placement) as stage:
        windows, void = interleave(
            {shown: partial(_window, stage, CONTENDERS[name]) for shown, name in NAMES.items()}, rounds
        )
    ratios = {
        "driver / iptables raw": ratio(windows["driver"], windows["iptables raw"]),
        "AF_XDP / driver": ratio(windows["AF_XDP"], windows["driver"]),
        "AF_XDP / iptables raw": ratio(windows["AF_XDP"], windows["iptables raw"]),
    }
    return ratios, {name: median(window.rate for window in seen) for name, seen in windows.items()}, void


def _window(stage: Scene, contender: Contender) -> Window:
    with contender.start(stage.target) as running, stage.admitted(xdp=contender.xdp):
        return stage.window(SECONDS, running)
