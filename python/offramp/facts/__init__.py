# SPDX-License-Identifier: Apache-2.0
"""What is known of an interface, a driver, a machine, as values that all rooms share. Pure, but for records.py, which
reads files of this package.

    link.py          an interface in one record: `Link`, and the XDP program that it runs
    capabilities.py  what an interface or a driver can do: `Capabilities`
    records.py       the records of real drivers, drivers/*.toml, each fact with its source
    knobs.py         the settings that may be changed, as names and JSON values; the protocol `Nic`
    offloads.py      offloads that change frames before XDP sees them, by all of their names
    identity.py      which device an interface is, across renames and reboots
    ssh.py           the ports and sessions of SSH on this machine
    imagined.py      a `Link` for an interface that is not on this machine
    strict.py        JSON read strictly into the dataclass that it was made of: the files may be strangers'

ARCHITECTURE.md says what else a new driver's record or a new knob touches.
"""
