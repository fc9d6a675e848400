# SPDX-License-Identifier: Apache-2.0
"""What takes packets off an interface, set side by side under one flood.

contender.py   what a contender is, and when it stops counting
kernel.py      the kernel's own: a UDP socket, iptables
ours.py        offramp's: in the application, natively and in Python; in the driver
contenders.py  all of them, by name
scene.py       two hosts, a flood from one to the other, and who runs on which CPU
windows.py     measurements that alternate, and what may be concluded from them

`offramp demo` runs each contender in a process of its own; the repository's ./bench runs them in its own process.
"""
