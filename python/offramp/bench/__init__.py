# SPDX-License-Identifier: Apache-2.0
"""Ways to take packets off an interface, compared under one flood.

contender.py   what a contender is, and when it stops counting
kernel.py      the kernel's own ways: a UDP socket, iptables
ours.py        offramp's ways: in the application, natively and in Python; in the driver
contenders.py  all of them, by name
scene.py       two hosts, a flood from one to the other, and who runs on which CPU
windows.py     measurements that alternate, and what they allow to conclude

`offramp demo` runs each contender in a process of its own; the repository's ./bench runs them in its own process.
"""
