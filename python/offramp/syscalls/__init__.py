# SPDX-License-Identifier: Apache-2.0
"""The seams to the kernel: each kind of system call is made in one file and nowhere else.

    bpf.py         bpf(2)
    failure.py     what a failed call is told as
    ioctl.py       ioctl(2) on interfaces: SIOCETHTOOL, SIOCGIFNETMASK, SIOCGIFNAME
    netlink.py     netlink(7): one question, one answer
    netns.py       network namespaces: setns(2)
    privileges.py  the capabilities of this thread

The data path has its own seams, in Rust: crates/offramp-io/src/sys/.
"""
