# SPDX-License-Identifier: Apache-2.0
"""What is claimed about speed, measured: `make bench`, or `python -m bench NAME ...` for some of it.

    framework.py   ns per packet of the framework itself, on the null port
    startup.py     import, attach, memory
    matching.py    a match in the driver against C by clang, natively against libpcap, to compile   (needs clang)
    sets.py        sets of a million elements
    histogram.py   a Python loop with a NumPy histogram against the native drop loop, on AF_XDP
    drop.py        dropping in the driver against iptables raw PREROUTING, and AF_XDP beside them

    measure.py     interleaved windows, paired ratios, bootstrap intervals
    scene.py       two lab hosts and a flood, and who runs on which CPU

A claim is a ratio of windows that alternate in one run; windows in which strangers used the CPUs are void and repeated.
RESULTS.md has the figures, with command and machine.
"""

from __future__ import annotations
