# SPDX-License-Identifier: Apache-2.0
"""tcpdump's meaning: a match's tree becomes one expression over numbers that are read from a packet. Pure.

match tree --lower()--> Lowered(expr, sets)

meaning.py     `lower`: what each primitive asks of a packet
expression.py  the expression; evaluate.py its meaning, in Python
layers.py      where a layer begins, and how it names the next one; fields.py the fields in it
addresses.py   tests of hosts, networks and ports; unions.py many of them as one look-up
tunnels.py     VXLAN, Geneve
possible.py    whether any packet can match; facts.py what is known of such a packet, ranges.py of its numbers
shapes.py      what compiled code has to know of a set
"""
