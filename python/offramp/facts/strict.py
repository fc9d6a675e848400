# SPDX-License-Identifier: Apache-2.0
"""JSON read strictly into the dataclass that it was made of: the files may be strangers'.

Lists become tuples, objects become mappings or dataclasses, and members of enumerations are given by name.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from offramp.errors import OptionError

__all__ = ["read"]


def read(wanted: Any, value: Any, where: str) -> Any:
    """`value` as the type `wanted`: a dataclass, or a type that its fields have. `where` names the place in errors.

    Errors: OptionError.
    """
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (each for each in arguments if each is not type(None))
        return read(inner, value, where)
    if is_dataclass(wanted):
        return _read_dataclass(wanted, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(read(arguments[0], each, where) for each in value)
    if origin is Mapping and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: read(arguments[1], each, f"{where}.{key}") for key, each in value.items()}
    if isinstance(wanted, type) and issubclass(wanted, Enum) and value in wanted.__members__:
        return wanted[value]
    if wanted is Any or (origin is Literal and value in arguments) or type(value) is wanted:
        return value
    expected = " or ".join(map(str, arguments)) if origin is Literal else getattr(wanted, "__name__", str(wanted))
    raise OptionError(f"{where}: {value!r}", reason=f"not {expected}")


def _read_dataclass(wanted: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise OptionError(f"{where}: {value!r}", reason="not an object")
    hints = get_type_hints(wanted)
    names = [each.name for each in fields(wanted)]
    for name in value:
        if name not in names:
            raise OptionError(f"{where}.{name}", reason=f"not one of {', '.join(names)}")
    return wanted(**{name: read(hints[name], part, f"{where}.{name}") for name, part in value.items()})
