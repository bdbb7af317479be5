"""The payload of a batch: joined from bytes, read as items."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.machine.directory import VALUES
from zraft.errors import UsageError
from zraft.limits import BATCH_ENTRIES
from zraft.session.items import Item, RawItem, encode_items
from zraft.wire.values import encode_value

DECODER = msgspec.msgpack.Decoder(list[Item[Any]])


@given(st.lists(VALUES, min_size=1, max_size=40))
def test_joined_commands_are_an_array_of_items(values: list[Any]) -> None:
    """They are decoded to what was joined, and every item is a light write."""
    commands = [encode_value(value) for value in values]
    items = DECODER.decode(encode_items(commands))
    assert [item.command for item in items] == msgspec.msgpack.decode(msgspec.msgpack.encode(values))
    assert all((item.session, item.sequence, item.flags) == (0, 0, 0) for item in items)
    raw = msgspec.msgpack.decode(encode_items(commands), type=list[RawItem])
    assert [bytes(item.command) for item in raw] == commands


@pytest.mark.parametrize("count", [1, 15, 16, 255, 256, BATCH_ENTRIES])
def test_every_size_of_batch_has_its_header(count: int) -> None:
    """The header of an array changes its form with its size."""
    assert len(DECODER.decode(encode_items([b"\x01"] * count))) == count


@pytest.mark.parametrize("count", [0, BATCH_ENTRIES + 1])
def test_a_batch_has_a_size(count: int) -> None:
    """None and too many are the caller's mistake."""
    with pytest.raises(UsageError):
        encode_items([b"\x01"] * count)


def test_what_joining_makes_is_what_encoding_makes() -> None:
    """A light item encoded by itself is the same bytes: trailing defaults are left out there, too."""
    assert msgspec.msgpack.decode(encode_items([encode_value(["k", 1])])) == [[["k", 1]]]


def test_a_field_that_this_version_does_not_know_is_no_item() -> None:
    """It is never read past (BM-117)."""
    with pytest.raises(msgspec.ValidationError):
        DECODER.decode(encode_value([[1, 0, 0, 0, 0]]))
