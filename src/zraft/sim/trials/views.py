"""The state of any object as text, field by field, so that two states can be compared and their difference shown.

Equal states have equal views: dicts and sets without their order, tuples as lists, floats and the rest by value. What
cannot be looked into, such as a function, counts by its type alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias

import msgspec

View: TypeAlias = Mapping[str, str]
"""Fields by name."""

WHOLE: Final = "state"
"""The name of the only field where the user says what the state is."""

_PLAIN: Final = (type(None), bool, int, float, str, bytes, datetime, Enum)
_LEFT_OUT: Final = frozenset({"peer_id"})
_DEPTH: Final = 100
_SHOWN: Final = 400
"""Characters of a field that are shown."""


def view_of(backend: object, state: Callable[[Any], object] | None) -> View:
    """The view of a backend: what `state` makes of it, or all its fields but `peer_id`."""
    if state is not None:
        return {WHOLE: text_of(state(backend))}
    return {name: text_of(value) for name, value in _fields(backend) if name not in _LEFT_OUT}


def difference(mine: View, expected: View) -> str:
    """The fields that differ, both sides of each; "": none."""
    parts = []
    for name in sorted({**mine, **expected}):
        here, there = mine.get(name, "nothing"), expected.get(name, "nothing")
        if here != there:
            parts.append(f"{name} is {_around(here, there)}, the log gives {_around(there, here)}")
    return "; ".join(parts)


def _around(text: str, other: str) -> str:
    """The text; of a long one what is around the first place where it differs from the other."""
    if len(text) <= _SHOWN:
        return text
    place = next((at for at, pair in enumerate(zip(text, other, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, min(place - _SHOWN // 2, len(text) - _SHOWN))
    return f"{'…' if start else ''}{text[start : start + _SHOWN]}{'…' if start + _SHOWN < len(text) else ''}"


def text_of(value: object) -> str:
    """The same text for values that are equal."""
    return _text(value, ())


def _text(value: Any, above: tuple[object, ...]) -> str:
    if isinstance(value, _PLAIN):
        return repr(value)
    if len(above) > _DEPTH or any(value is one for one in above):
        return "…"
    inner = (*above, value)
    match value:
        case OrderedDict():
            return f"[{', '.join(f'{_text(key, inner)}: {_text(one, inner)}' for key, one in value.items())}]"
        case Mapping():
            return f"{{{', '.join(sorted(f'{_text(key, inner)}: {_text(one, inner)}' for key, one in value.items()))}}}"
        case Set():
            return "set()" if not value else f"{{{', '.join(sorted([_text(one, inner) for one in value]))}}}"
        case bytearray() | memoryview():
            return repr(bytes(value))
        case _ if isinstance(value, Sequence) or _is_queue(value):
            return f"[{', '.join(_text(one, inner) for one in value)}]"
        case _:
            fields = ", ".join(f"{name}={_text(one, inner)}" for name, one in _fields(value))
            return f"{type(value).__name__}({fields})"


def _is_queue(value: object) -> bool:
    return hasattr(type(value), "__iter__") and hasattr(type(value), "__len__") and not hasattr(value, "__dict__")


def _fields(value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, msgspec.Struct):
        names = list(value.__struct_fields__)
    else:
        slots = [name for kind in type(value).__mro__ for name in _slots(kind)]
        names = sorted({*slots, *getattr(value, "__dict__", {})})
    for name in names:
        if hasattr(value, name) and not callable(one := getattr(value, name)):
            yield name, one


def _slots(kind: type) -> list[str]:
    found = vars(kind).get("__slots__", ())
    names = [found] if isinstance(found, str) else list(found)
    return [name for name in names if not name.startswith("__")]
