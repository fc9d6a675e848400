# SPDX-License-Identifier: Apache-2.0
"""Sets, one kind of state: whether a key is in a set.

layout.py   where things are in the memory of a set
lookup.py   `member`: the words of a key -> a branch
hashes.py   bitmaps and hashes; ranges.py trees of ranges; shared.py what all look-ups do
"""
