# SPDX-License-Identifier: Apache-2.0
"""The NIC lab: small guests with emulated PCI NICs and real drivers, in which tests/nic and tests/kernel run.

    kernels.py    which kernels, by pattern          machines.py   which NICs, how they are wired
    mirror.py     packages: found, fetched, unpacked, never installed
    stock.py      what a guest is made of, in the cache
    initrd.py     the first root: busybox, a few modules, `init`
    choice.py     which tests run in which guest     guest.py      one guest, from start to end
    inside.py     runs pytest in the guest           boot.sh       what process 1 of the guest does before that
    report.py     a line for each test; what failed, and the last words of a guest that died

    .venv/bin/python -m lab.nic [--machine igb] [--kernel 6.12] [-k EXPRESSION] [tests ...]

docs/niclab.md explains it, and how to add a driver.
"""
