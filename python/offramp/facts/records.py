# SPDX-License-Identifier: Apache-2.0
"""Capabilities from JSON and TOML: the shipped records of real drivers, and strangers' files, which are read strictly.

record("ixgbe")          facts/drivers/ixgbe.toml: what is known of a driver, each fact with its source
from_dict(json object)   the capabilities that `Capabilities.to_dict` wrote, here or elsewhere
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pkgutil import get_data

from offramp.errors import OptionError
from offramp.facts.capabilities import SCHEMA, Capabilities
from offramp.facts.strict import read

__all__ = ["DRIVERS", "from_dict", "record"]

_ALIASES = {"mlx5_core": "mlx5", "virtio_net": "virtio-net"}  # as ethtool -i names them
DRIVERS = ("ena", "gve", "i40e", "ice", "igb", "ixgbe", "mlx5", "veth", "virtio-net")


@cache
def record(driver: str | None) -> Capabilities | None:
    """What is known of a driver, by its name or the name that `ethtool -i` shows; None: nothing is known."""
    name = _ALIASES.get(driver or "", driver)
    if name not in DRIVERS:
        return None
    text = get_data("offramp.facts", f"drivers/{name}.toml")
    assert text is not None  # what a loader without data gives
    return from_dict(tomllib.loads(text.decode()))


def from_dict(value: Mapping[str, object]) -> Capabilities:
    """Errors: OptionError naming the part that is unknown, of the wrong type, or of another version."""
    version = value.get("schema")
    if version != SCHEMA:
        raise OptionError(
            f"capabilities of schema {version!r}", reason=f"this version of offramp reads schema {SCHEMA}"
        )
    found = read(Capabilities, {key: part for key, part in value.items() if key != "schema"}, "capabilities")
    assert isinstance(found, Capabilities)
    return found
