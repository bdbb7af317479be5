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
from zraft.session.items import (
    END,
    EXPIRED,
    OPEN,
    RESUME,
    TEMPORARY,
    Item,
    Marks,
    RawItem,
    encode_items,
    encode_session_items,
    end_item,
    open_item,
    resume_item,
    write_item,
)
from zraft.wire.values import encode_value

DECODER = msgspec.msgpack.Decoder(list[Item[Any]])


@given(st.lists(VALUES, min_size=1, max_size=40))
def test_joined_commands_are_an_array_of_items(values: list[Any]) -> None:
    """They are decoded to what was joined, and every item is a light write."""
    commands = [encode_value(value) for value in values]
    items = DECODER.decode(encode_items(commands))
    assert [item.command for item in items] == msgspec.msgpack.decode(msgspec.msgpack.encode(values))
    assert all(item.marks is None for item in items)
    raw = msgspec.msgpack.decode(encode_items(commands), type=list[RawItem])
    assert [bytes(item.command) for item in raw] == commands


@pytest.mark.parametrize("count", [1, 15, 16, 255, 256, BATCH_ENTRIES])
def test_every_size_of_batch_has_its_header(count: int) -> None:
    """The header of an array changes its form with its size."""
    assert len(DECODER.decode(encode_items([b"\x01"] * count))) == count


def test_items_of_sessions_say_what_they_are() -> None:
    """A write carries its command as it came; what opens, resumes and ends is made here."""
    write = write_item(encode_value(["k", 1]), 17, 3, 2, temporary=True)
    payload = encode_session_items(
        [write, open_item(b"d" * 16, 5000), resume_item(b"d" * 16, 7, 17), end_item(17, EXPIRED)]
    )
    assert msgspec.msgpack.decode(payload) == [
        [["k", 1], [17, 3, TEMPORARY, 2]],
        [[b"d" * 16, 5000], [0, 0, OPEN, 0]],
        [[b"d" * 16, 7, 17], [0, 0, RESUME, 0]],
        ["expired", [17, 0, END, 0]],
    ]
    assert DECODER.decode(payload)[0] == Item(["k", 1], Marks(17, 3, TEMPORARY, 2))


@pytest.mark.parametrize("count", [0, BATCH_ENTRIES + 1])
def test_a_batch_has_a_size(count: int) -> None:
    """None and too many are the caller's mistake."""
    with pytest.raises(UsageError):
        encode_items([b"\x01"] * count)
    with pytest.raises(UsageError):
        encode_session_items([b"\x91\x01"] * count)


def test_what_joining_makes_is_what_encoding_makes() -> None:
    """A light item encoded by itself is the same bytes: trailing defaults are left out there, too."""
    assert msgspec.msgpack.decode(encode_items([encode_value(["k", 1])])) == [[["k", 1]]]


def test_a_field_that_this_version_does_not_know_is_no_item() -> None:
    """It is never read past (BM-117)."""
    for item in ([1, 0], [1, None, 0], [1, [0, 0, 0, 0, 0]], [1, [0, 0, 0]]):
        with pytest.raises(msgspec.ValidationError):
            DECODER.decode(encode_value([item]))
