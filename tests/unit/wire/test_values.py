"""Values: what travels comes back, what cannot travel is refused at the door with a text that helps."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zraft.errors import ProtocolError, TooLarge, UsageError
from zraft.types import NOT_FOUND
from zraft.wire.values import check_command, decode_value, decoder_for, encode_value

FUZZ = settings(derandomize=True, max_examples=100, deadline=None, database=None)
NOON = datetime(2024, 5, 6, 12, 0, 0, 123456, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Word(str):
    __slots__ = ()


class Put(msgspec.Struct):
    key: str
    value: Any = None


def nested_list(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def nested_key(depth: int) -> Any:
    key: Any = 0
    for _ in range(depth):
        key = (key,)
    return key


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(2**63),
        2**64 - 1,
        1.5,
        "text",
        b"\x00\xff",
        [1, [2, "x"]],
        {"k": {1: b"v", 2.5: None, b"b": [True]}},
        {(1, ("a", b"b")): "tuple key"},
        {NOT_FOUND: 1},
        NOON,
        {NOON: NOON},
    ],
)
def test_a_value_comes_back_as_it_went(value: Any) -> None:
    """Every kind of value that the contract names, also as a part and as a key."""
    data = encode_value(value)
    check_command(data)
    assert decode_value(data) == value


def test_not_found_is_the_same_object_after_the_wire() -> None:
    """As a whole and as a part: `is` works, and it stays false."""
    assert decode_value(encode_value(NOT_FOUND)) is NOT_FOUND
    assert decode_value(encode_value(["x", NOT_FOUND]))[1] is NOT_FOUND
    assert not NOT_FOUND


def test_the_bytes_of_values_do_not_change() -> None:
    """Journals and other versions rely on them."""
    assert encode_value(("key", b"v", None, NOT_FOUND)).hex() == "94a36b6579c40176c0c70001"
    assert encode_value({("a", 1): 2.5}).hex() == "8192a16101cb4004000000000000"
    assert encode_value(NOON).hex() == "d7ff1d6f28006638c640"


def test_tuples_come_back_as_lists_inside_values_and_as_tuples_in_keys() -> None:
    """Whoever needs a tuple back uses it as a key."""
    assert decode_value(encode_value((1, (2,)))) == [1, [2]]
    assert decode_value(encode_value({(1, (2,)): 3})) == {(1, (2,)): 3}


def test_a_datetime_comes_back_as_the_same_moment_in_utc() -> None:
    """The zone does not travel, the moment does."""
    there = datetime(2024, 1, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    back = decode_value(encode_value(there))
    assert back == there
    assert back.utcoffset() == timedelta(0)


def test_a_struct_and_an_enum_travel_as_what_msgspec_makes_of_them() -> None:
    """Backends that declare a type for their commands are served by the same door."""
    data = encode_value(Put("k", [1]))
    assert decode_value(data) == {"key": "k", "value": [1]}
    assert decoder_for(Put).decode(encode_value(Put("k", NOT_FOUND))).value is NOT_FOUND
    assert decode_value(encode_value([Put("k"), Colour.RED, Number.ONE])) == [{"key": "k", "value": None}, "red", 1]


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        [object()],
        {"k": 1j},
        datetime(2024, 1, 1),  # noqa: DTZ001
        [datetime(2024, 1, 1)],  # noqa: DTZ001
        2**64,
        [-(2**63) - 1],
        "\ud800",
        Word("x"),
        timedelta(1),
        {math.nan: 1},
        {(1, math.nan): 1},
        {frozenset({1}): 1},
        {(1, frozenset({1})): 1},
    ],
)
def test_what_cannot_travel_is_a_usage_error(value: Any) -> None:
    """Never silently changed into something else, as a set into a list or a naive datetime into a text."""
    with pytest.raises(UsageError, match="not a value"):
        encode_value(value)


def test_a_struct_is_no_key() -> None:
    """It would come back as a dict, which cannot be one."""

    class Key(msgspec.Struct, frozen=True):
        name: str

    with pytest.raises(UsageError, match="cannot be a key"):
        encode_value({Key("a"): 1})


def test_not_a_number_may_be_a_value() -> None:
    """Only as a key it would be equal to nothing."""
    assert math.isnan(decode_value(encode_value([math.nan]))[0])


def test_sixty_four_levels_are_allowed_and_no_more() -> None:
    """On the way out, and at the door for bytes of strangers; containers, keys and structs count alike."""
    for allowed in (nested_list(64), {nested_key(63): 1}, [{"k": nested_list(62)}]):
        check_command(encode_value(allowed))
    for forbidden in (nested_list(65), {nested_key(64): 1}, [{"k": nested_list(63)}], Put("k", nested_list(64))):
        with pytest.raises(TooLarge, match="nested deeper than 64"):
            encode_value(forbidden)
        with pytest.raises(TooLarge, match="nested deeper than 64"):
            check_command(msgspec.msgpack.encode(forbidden))


def test_a_value_that_contains_itself_is_too_large() -> None:
    """Plain containers are stopped by depth, structs by the encoder's own limit."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TooLarge):
        encode_value(endless)
    knot = Put("k")
    knot.value = knot
    with pytest.raises(TooLarge):
        encode_value(knot)


@pytest.mark.parametrize(
    "opening", [b"\x91", b"\x81\x01", b"\x81", b"\xdd\x00\x00\x00\x01", b"\xdf\x00\x00\x00\x01\xc0"]
)
@pytest.mark.parametrize("depth", [65, 2_000, 300_000])
def test_deep_nesting_never_exhausts_the_stack(opening: bytes, depth: int) -> None:
    """A stranger's bytes end as one of our errors, however deep they are and whatever nests."""
    with pytest.raises((TooLarge, ProtocolError)):
        check_command(opening * depth + b"\x01")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\x92\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff\x01\x01",
        b"\xc6\xff\xff\xff\xff",
        b"\xa2\xff\xfe",
        b"\x81\x81\x01\x02\x03",
        b"\xd4\x05\x00",
        b"\xd4\x01\x00",
        b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\x81\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x01",
        b"\x81\x91\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x01",
    ],
)
def test_malformed_commands_are_protocol_errors(data: bytes) -> None:
    """Cut off, trailing, not text, unhashable or unequal keys, extensions that nobody knows, impossible moments."""
    with pytest.raises(ProtocolError):
        check_command(data)


def values() -> st.SearchStrategy[Any]:
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False)
        | st.text(st.characters(exclude_categories=["Cs"]))
        | st.binary()
        | st.just(NOT_FOUND)
    )
    keys = leaves | st.tuples(leaves, leaves)
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


@FUZZ
@given(values())
def test_any_value_survives_the_wire(value: Any) -> None:
    """Round trip of whatever hypothesis makes of the contract's kinds."""
    data = encode_value(value)
    check_command(data)
    assert decode_value(data) == value


@FUZZ
@given(st.binary(max_size=200))
def test_random_bytes_are_a_value_or_one_of_our_errors(data: bytes) -> None:
    """What passes the door can be decoded by every replica and encoded again."""
    try:
        check_command(data)
    except (ProtocolError, TooLarge):
        return
    encode_value(decode_value(data))


def test_an_object_hidden_in_a_struct_is_a_usage_error() -> None:
    """What the walk leaves to the encoder is refused by the encoder."""
    with pytest.raises(UsageError, match="a object is not a value"):
        encode_value(Put("k", object()))
