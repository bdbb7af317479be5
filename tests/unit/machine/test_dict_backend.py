"""The backend "dict" against a plain dict: its own commands and keys; the rest is in `test_built_in`."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.machine.directory import KEYS, VALUES, MemoryDirectory
from zraft.errors import UsageError
from zraft.machine.backend import Applied, Context, Reject
from zraft.machine.dict_backend import DictBackend
from zraft.types import NOT_FOUND, PeerId
from zraft.wire.values import decode_value, encode_value

PEER = PeerId("a", "127.0.0.1:7101")
CTX = Context()

COMMANDS = st.lists(st.tuples(KEYS, VALUES) | st.tuples(KEYS), max_size=30)


def made(*commands: Any) -> DictBackend:
    """A backend that has applied these."""
    backend = DictBackend(PEER)
    for command in commands:
        backend.apply(command, CTX)
    return backend


def restored(backend: DictBackend) -> DictBackend:
    """A fresh backend from this one's snapshot."""
    directory = MemoryDirectory()
    backend.snapshot()(directory)
    fresh = DictBackend(PEER)
    fresh.install_snapshot(directory)
    return fresh


def test_a_key_is_stored_found_and_removed() -> None:
    """The results are those of the contract, and every change names its key."""
    backend = DictBackend(PEER)
    assert backend.query("k").value is NOT_FOUND
    assert backend.apply(["k", 1], CTX) == Applied("ok", ("k",))
    assert backend.query("k").value == 1
    assert backend.query("k").watch == ("k",)
    assert backend.apply(["k"], CTX) == Applied("ok", ("k",))
    assert backend.apply(["k"], CTX) is NOT_FOUND
    assert backend.size == 0


def test_an_array_is_a_tuple_as_a_key() -> None:
    """Messages know no tuple, and a list can be no key: at every depth."""
    backend = made([["a", ["b", 1]], "v"])
    assert backend.query(("a", ("b", 1))).value == "v"
    assert backend.query(["a", ["b", 1]]).value == "v"
    assert backend.apply([["a", ["b", 1]]], CTX) == Applied("ok", (("a", ("b", 1)),))


@pytest.mark.parametrize("key", [None, True, 5, 1.5, "k", b"k", datetime(2024, 1, 1, tzinfo=UTC), ["a", 1.5], []])
def test_every_plain_value_can_be_a_key(key: Any) -> None:
    """And is found by what the wire makes of it."""
    assert made([key, "v"]).query(decode_value(encode_value(key))).value == "v"


@pytest.mark.parametrize("key", [math.nan, {"a": 1}, ["a", math.nan], [{}], NOT_FOUND])
def test_what_cannot_be_a_key_is_refused_and_changes_nothing(key: Any) -> None:
    """NaN would be stored again and again, a dict cannot be hashed."""
    backend = made(["k", 1])
    for request in ([key, 2], [key]):
        with pytest.raises(Reject) as refused:
            backend.apply(request, CTX)
        assert refused.value.code == "bad_key"
    with pytest.raises(Reject):
        backend.query(key)
    assert (backend.size, backend.digest()) == (1, made(["k", 1]).digest())


@pytest.mark.parametrize("command", [None, "k", 7, {}, [], ["k", 1, 2], b"k", {"k": 1}])
def test_a_malformed_command_is_refused(command: Any) -> None:
    """A text of two letters is no pair either."""
    with pytest.raises(Reject) as refused:
        made().apply(command, CTX)
    assert refused.value.code == "bad_command"


@given(COMMANDS)
def test_it_is_a_dict(commands: list[tuple[Any, ...]]) -> None:
    """Every sequence of commands leaves what the same sequence leaves in a plain dict."""
    backend, plain = DictBackend(PEER), dict[Any, Any]()
    for command in commands:
        result = backend.apply(decode_value(encode_value(command)), CTX)
        if len(command) == 2:
            plain[command[0]] = command[1]
            assert result.result == "ok"
        else:
            assert (result is NOT_FOUND) == (plain.pop(command[0], NOT_FOUND) is NOT_FOUND)
    assert backend.size == len(plain)
    for key, value in plain.items():
        assert backend.query(decode_value(encode_value(key))).value == value


@given(COMMANDS)
def test_a_snapshot_holds_everything(commands: list[tuple[Any, ...]]) -> None:
    """What is installed has the same digest, the same answers, and behaves alike afterwards."""
    backend = made(*(decode_value(encode_value(command)) for command in commands))
    copy = restored(backend)
    assert copy.digest() == backend.digest()
    for command in commands:
        assert copy.query(command[0]) == backend.query(command[0])
    for each in (backend, copy):
        each.apply(["more", 1], CTX)
    assert copy.digest() == backend.digest()


def test_a_captured_state_is_written_until_it_is_over() -> None:
    """As often as wanted: it is the same state each time. What is held no longer may have changed, and is refused."""
    backend = DictBackend(PEER)
    backend.apply(("a", 1), Context())
    write = backend.snapshot()
    backend.apply(("a", 2), Context())
    for _ in range(2):
        directory = MemoryDirectory()
        write(directory)
        again = DictBackend(PEER)
        again.install_snapshot(directory)
        assert again.query("a").value == 1
    backend.snapshot_done()
    with pytest.raises(UsageError, match="before snapshot_done"):
        write(MemoryDirectory())
    assert backend.query("a").value == 2
