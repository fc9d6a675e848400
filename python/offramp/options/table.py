# SPDX-License-Identifier: Apache-2.0
"""Each option of a public call, written once: its name, type, default, values, meaning, and what it applies to.

`Options` is the table. An instance of it holds the values, and the planner reads it. The flags of `offramp run` and
`offramp plan`, their help and manual pages, and docs/options.md are all made from the table. A test compares it with
the signatures and docstrings of `offramp.open` and `offramp.attach`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

from offramp.arguments import meant, short
from offramp.errors import OptionError
from offramp.options.kinds import Choice, Choices, Duration, Matching, Number, Numbers, Packets, Real, Switch, ValueKind
from offramp.options.option import Call, Option

__all__ = ["NO_SOCKET", "TABLE", "Copying", "LayoutChoice", "Mode", "Options", "Requirement", "asked", "gone"]

Mode = Literal["auto", "native", "generic"]
Copying = Literal["auto", "copy", "zero-copy"]
Requirement = Literal["native", "zero-copy"]
LayoutChoice = Literal["auto", "hidden-queue", "in-driver", "vf"]

NO_SOCKET: Final = "the driver acts on the packets, so there is no socket"

_BOTH: Final = ("open", "attach")
_MOST_FRAMES: Final = 1 << 20  # 2 or 4 GiB for each queue, which the kernel pins


def _about(kind: ValueKind, sentence: str, **more: Any) -> Mapping[str, Any]:
    """Add what a field of `Options` cannot say itself. `more`: see `Option`."""
    return {"kind": kind, "sentence": sentence} | more


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asks for. Checked when created. Errors: OptionError that quotes the value."""

    mode: Mode = field(
        default="auto",
        metadata=_about(
            Choice(get_args(Mode)),
            "where XDP runs: in the driver (native) or, slowly, in the stack (generic); auto: native if the driver can",
            calls=_BOTH,
        ),
    )
    copying: Copying | None = field(
        default=None,
        metadata=_about(
            Choice(get_args(Copying)),
            "who writes packets to our memory: the kernel (copy, where passing packets on costs nothing extra) or the "
            "NIC (zero-copy); auto: the NIC if its driver supports it",
            none="auto on a hidden queue, else as the plan says",
        ),
    )
    require: frozenset[Requirement] = field(
        default=frozenset(),
        metadata=_about(
            Choices(get_args(Requirement)),
            "modes that must not fall back; NotSupported is raised if one is not available",
            calls=_BOTH,
            annotation="Requirement | Iterable[Requirement]",
        ),
    )
    layout: LayoutChoice = field(
        default="auto",
        metadata=_about(
            Choice(get_args(LayoutChoice)),
            "how the flow gets to user space: the NIC brings it to a queue of its own (hidden-queue), the program "
            "takes it from every queue (in-driver), or it arrives on a virtual function (vf); auto: a hidden queue if "
            "the NIC is known to bring the flow",
        ),
    )
    hidden_queue: int | None = field(
        default=None,
        metadata=_about(
            Number(),
            "the receive queue to hide",
            none="the last free one",
            layouts=("hidden-queue",),
        ),
    )
    queues: tuple[int, ...] | None = field(
        default=None,
        metadata=_about(
            Numbers(Number()),
            "the receive queues to listen on",
            none="all",
            layouts=("in-driver",),
            annotation="Iterable[int] | None",
        ),
    )
    vf: int | None = field(
        default=None,
        metadata=_about(
            Number(),
            "the virtual function to use: one that exists and that nobody uses",
            none="a new one",
            layouts=("vf",),
        ),
    )
    observe: float = field(
        default=0.5,
        metadata=_about(
            Duration(0, 60),
            "how long to watch whether the NIC delivers the flow to its hidden queue; 0: do not watch; if it does not, "
            "another layout is tried, and nothing is lost",
            annotation="float | str",
        ),
    )
    probe: bool = field(
        default=False,
        metadata=_about(
            Switch(),
            "make a peer answer with a packet of the flow meanwhile (a SYN, an echo request): for a silent flow whose "
            "match names both addresses and, for TCP or UDP, both ports",
        ),
    )
    share: float | None = field(
        default=None,
        metadata=_about(
            Real(0, 1, "0..1"),
            "your estimate of the part of all packets that matches, from 0 to 1: decides between copy and zero-copy",
            none="not known",
        ),
    )
    frames: int = field(
        default=4096,
        metadata=_about(
            Number(65, _MOST_FRAMES),
            "the packet memory of each queue, in frames of 2048 bytes (4096 for an MTU above 1770)",
        ),
    )
    ring: int = field(
        default=2048,
        metadata=_about(
            Number(64, 1 << 15, power_of_two=True),
            "the entries of each ring of a queue, a power of two",
        ),
    )
    stall: float | None = field(
        default=1.0,
        metadata=_about(
            Duration(0.01, 3600, never=True),
            "how long the reader may go without looking for packets; then the kernel gets the flow until it looks "
            "again",
            none="never",
            annotation="float | str | None",
        ),
    )
    protect: bool | str | Matching = field(
        default=True,
        metadata=_about(
            Packets(),
            "what keeps a link, a route or a login alive (ARP, STP, LACP, DHCP, ICMP errors, SSH and more: "
            "docs/protection.md) stays with the kernel, even if it matches; False: it does not; a match: its packets "
            "stay there, too",
            calls=_BOTH,
            annotation="bool | str | Match",
            off="--no-protect",
        ),
    )
    resolve: bool = field(
        default=False,
        metadata=_about(
            Switch(),
            "look up names of hosts and networks in the match, now and once: all addresses of a host are meant; on the "
            "command line this is so unless -n is given",
            calls=_BOTH,
            flag="--resolve/--no-resolve/-n",
            typed_default=True,
        ),
    )

    def __post_init__(self) -> None:
        for name, option in TABLE.items():
            object.__setattr__(self, name, option.checked(getattr(self, name)))
        if self.mode == "generic" and "native" in self.require:
            raise OptionError("native required in generic mode", reason="they exclude each other")
        if self.mode == "generic" and self.wants_zero_copy:
            raise OptionError("zero-copy in generic mode", reason="only a driver can do zero-copy")
        if self.frames <= self.ring:
            raise self._too_few_frames()
        if self.probe and not self.observe:
            raise OptionError("probe without observe", reason="nobody would watch where the answer arrives")
        self._check_layout()

    def _too_few_frames(self) -> OptionError:
        """The error blames the option that was given."""
        why = "the fill ring takes one for each of its entries, and sending needs some too"
        if self.frames == TABLE["frames"].default:
            reason = f"{self.frames} frames are too few for it: {why}"
            return OptionError(f"ring={self.ring}", reason=reason, hint=f"also give frames={2 * self.ring}")
        what = f"frames={self.frames} with ring={self.ring}"
        return OptionError(what, reason=f"not from {self.ring + 1} to {_MOST_FRAMES}", hint=why)

    def _check_layout(self) -> None:
        """Check that the options given belong to the layout that is wanted."""
        wanted = self.wanted_layout
        for name, option in TABLE.items():
            value = getattr(self, name)
            if value is not None and option.layouts and wanted not in option.layouts and wanted != "auto":
                raise OptionError(
                    f"{name}={value} in layout {wanted}", reason=f"it is for layout {' or '.join(option.layouts)}"
                )

    @property
    def wanted_layout(self) -> LayoutChoice:
        """The layout asked for; naming a hidden queue or a VF asks for its layout."""
        if self.layout != "auto":
            return self.layout
        return "hidden-queue" if self.hidden_queue is not None else "vf" if self.vf is not None else "auto"

    @property
    def requires_native(self) -> bool:
        """Whether nothing but native mode will do."""
        return self.mode == "native" or "native" in self.require or self.wants_zero_copy

    @property
    def wants_zero_copy(self) -> bool:
        return self.copying == "zero-copy" or "zero-copy" in self.require


def _option(name: str, annotation: str, default: object, about: Mapping[str, Any]) -> Option:
    return Option(name, default=default, **{"annotation": annotation, **about})


TABLE: Final[Mapping[str, Option]] = {
    each.name: _option(each.name, str(each.type), each.default, each.metadata) for each in fields(Options)
}

# Options of earlier versions: the options that replace each of them, and what those say.
_GONE: Final[Mapping[str, Mapping[str, str]]] = {
    "queue": {"hidden_queue": "says which queue is hidden", "queues": "which receive queues to listen on"},
    "via": {"layout": "says it: vf"},
}


def asked(call: Call, given: Mapping[str, Any]) -> Options:
    """Make the options of a public call from its local variables; `unknown` holds keywords that it does not have.

    Errors: OptionError; TypeError, as Python's own, for a keyword that no call has.
    """
    for name, value in given["unknown"].items():
        _refuse(call, name, value)
    options = Options(**{name: given[name] for name, option in TABLE.items() if call in option.calls})
    if call == "attach" and options.wants_zero_copy:
        raise OptionError("attach with require='zero-copy'", reason=NO_SOCKET)
    return options


def _refuse(call: Call, name: str, value: object) -> None:
    if earlier := gone(name, f"{name}={short(value)}", lambda option: f"{option.name}="):
        raise earlier
    if name in TABLE:
        hint = f"offramp.{TABLE[name].calls[0]} has it"
        raise OptionError(f"attach with {name}={short(value)}", reason=NO_SOCKET, hint=hint)
    near = meant(name, [known for known, option in TABLE.items() if call in option.calls])
    raise TypeError(f"{call}() got an unexpected keyword argument {name!r}{f' ({near})' if near else ''}")


def gone(name: str, what: str, spelled: Callable[[Option], str]) -> OptionError | None:
    """The error for an option of an earlier version; None if it is not one."""
    if name not in _GONE:
        return None
    hint = ", ".join(f"{spelled(TABLE[now])} {says}" for now, says in _GONE[name].items())
    return OptionError(what, reason="there is no such option any more", hint=hint)
