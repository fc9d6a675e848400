# SPDX-License-Identifier: Apache-2.0
"""Traffic: packets made, and sent as fast as the kernel takes them.

packets.py    frames as bytes
variation.py  what differs from packet to packet
generator.py  the XDP program that sends them as live frames
flood.py      Flood: a generator at work
"""
