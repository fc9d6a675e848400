# SPDX-License-Identifier: Apache-2.0
"""Sets, a kind of state: whether a key is in one.

layout.py   where things are in the memory of a set
lookup.py   `member`: the words of a key -> a branch
search.py   ranges, which are searched for
"""
