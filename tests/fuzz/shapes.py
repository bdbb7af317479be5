"""Values of any type that msgspec knows, within the bounds that the type declares: what a decoder must take.

chance = Random(7)
any_of(requests.Request, chance)      one of its structs, every field drawn from its own type
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import msgspec
from msgspec import inspect

from zraft.types import NOT_FOUND, Member, PeerId

PEERS = tuple(PeerId(name, f"{name}:1") for name in "abc")
MEMBERS = tuple(Member(peer, life) for peer in PEERS for life in (1, 2))
NAMES = ("a", "b", "dict", "table", "p", "", "x" * 64, "a b", "\x00", "é")
SMALL = (0, 1, 2, 3, 5, 100)


def any_of(type: Any, chance: Random) -> Any:
    """One value of the type."""
    return _drawn(_info(type), chance)


@cache
def _info(type: Any) -> inspect.Type:
    return inspect.type_info(type)


def any_value(chance: Random, depth: int = 0) -> Any:
    """What a user's command, query or result may be, and a little beyond."""
    match chance.randrange(9 if depth < 3 else 6):
        case 0:
            return chance.choice((None, True, False, NOT_FOUND, 0.5, float("nan"), float("inf")))
        case 1:
            return chance.choice((-1, *SMALL, 2**63 - 1, -(2**63)))
        case 2 | 3:
            return chance.choice(("k", "k1", "v", "put", "get", *NAMES))
        case 4:
            return chance.randbytes(chance.randrange(5))
        case 5:
            return chance.choice(SMALL)
        case 6 | 7:
            return [any_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        case _:
            return {
                chance.choice(("a", 1, b"x", None)): any_value(chance, depth + 1) for _ in range(chance.randrange(3))
            }


def _drawn(info: inspect.Type, chance: Random) -> Any:
    match info:
        case inspect.NoneType():
            return None
        case inspect.BoolType():
            return bool(chance.randrange(2))
        case inspect.IntType():
            return _number(info, chance)
        case inspect.FloatType():
            return chance.choice((0.0, 0.5, 1e300))
        case inspect.StrType():
            text = chance.choice(NAMES[:5] if info.pattern else NAMES)
            return text.ljust(info.min_length or 0, "x")[: info.max_length]
        case inspect.BytesType():
            least, most = info.min_length or 0, 40 if info.max_length is None else info.max_length
            return chance.randbytes(chance.randrange(least, most + 1))
        case inspect.RawType():
            return msgspec.Raw(msgspec.msgpack.encode(_plain(any_value(chance))))
        case inspect.EnumType():
            return chance.choice(list(info.cls))
        case inspect.UnionType():
            return _drawn(chance.choice(info.types), chance)
        case inspect.TupleType():
            return tuple(_drawn(each, chance) for each in info.item_types)
        case inspect.ListType():
            return _several(info, chance)
        case inspect.VarTupleType():
            return tuple(_several(info, chance))
        case inspect.StructType():
            return _struct(info, chance)
        case inspect.Metadata():
            return _drawn(info.type, chance)
        case inspect.AnyType():
            return _plain(any_value(chance))
    raise NotImplementedError(f"no values of {info}")


def _number(info: inspect.IntType, chance: Random) -> int:
    least, most = -(2**63) if info.ge is None else info.ge, 2**63 - 1 if info.le is None else info.le
    return min(most, max(least, chance.choice((*SMALL, least, most, chance.randrange(least, most + 1)))))


def _several(info: inspect.ListType | inspect.VarTupleType, chance: Random) -> list[Any]:
    least = info.min_length or 0
    most = max(least, 3 if info.max_length is None else min(3, info.max_length))
    return [_drawn(info.item_type, chance) for _ in range(chance.randrange(least, most + 1))]


def _struct(info: inspect.StructType, chance: Random) -> Any:
    if info.cls is PeerId:
        return chance.choice(PEERS)
    if info.cls is Member:
        return chance.choice(MEMBERS)
    return info.cls(**{each.name: _drawn(each.type, chance) for each in info.fields})


def _plain(value: Any) -> Any:
    """NOT_FOUND is an extension, which a plain encoder does not know."""
    if value is NOT_FOUND:
        return msgspec.msgpack.Ext(1, b"")
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value
