# SPDX-License-Identifier: Apache-2.0
"""An n-tuple rule in ethtool's own words, as in `ethtool -N eth0 ...`.

    flow-type udp4 src-ip 10.0.0.0 m 0.0.0.255 dst-port 53 action 3 loc 1023

Each value may be followed by its mask, `m MASK` or `NAME-mask MASK`; ones in it are *ignored*. `str(rule)` gives these
words back. Source: ethtool(8), "-N --config-nfc".
"""

from __future__ import annotations

from collections.abc import Sequence

from offramp.errors import OptionError
from offramp.steering.rule import Rule, integer

__all__ = ["parse_rule"]


def parse_rule(words: str | Sequence[str]) -> Rule:
    """The rule. Errors: OptionError naming the word."""
    rest = words.split() if isinstance(words, str) else list(words)
    value: dict[str, str] = {}
    last = ""
    while rest:
        name = rest.pop(0)
        if not rest:
            raise OptionError(f"{name} without a value")
        if name == "m" or name == f"{last}-mask":
            if not last:
                raise OptionError("m without a field before it")
            name, last = f"{last}-mask", ""
        else:
            last = name
        if name in value:
            raise OptionError(f"{name} twice in a rule")
        value[name] = rest.pop(0)
    location = value.pop("loc", None)
    return Rule.from_value(value, None if location is None else integer("loc", location, 31))
