"""The backend "dict" against a plain dict: commands, keys, owners, snapshots, digests."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.machine.directory import KEYS, VALUES, MemoryDirectory
from zraft.errors import CorruptData, UsageError
from zraft.machine.backend import Applied, Context, Reject
from zraft.machine.dict_backend import DictBackend
from zraft.types import NOT_FOUND, PeerId
from zraft.wire.values import decode_value, encode_value

PEER = PeerId("a", "127.0.0.1:7101")
CTX = Context()

COMMANDS = st.lists(st.tuples(KEYS, VALUES) | st.tuples(KEYS), max_size=30)
# Few keys and few sessions (0: none), so that they meet.
OWNED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.sampled_from(["put", "delete", "end"])))


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


def temporary(session: int) -> Context:
    """The context of a temporary write."""
    return Context(session=session, temporary=True)


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


def test_a_snapshot_is_of_the_moment_it_was_captured() -> None:
    """What is applied while it is written is not in it."""
    backend = made(["a", 1], ["b", 2])
    digest = backend.digest()
    write = backend.snapshot()
    for command in (["a", 9], ["b"], ["c", 3]):
        backend.apply(command, temporary(4))
    directory = MemoryDirectory()
    write(directory)
    fresh = DictBackend(PEER)
    fresh.install_snapshot(directory)
    assert fresh.digest() == digest


@pytest.mark.parametrize(("keys", "size"), [(0, 0), (511, 1), (512, 1), (1025, 1), (40, 10_000), (2, 300_000)])
def test_a_snapshot_is_written_in_pieces(keys: int, size: int) -> None:
    """No piece is much larger than 64 KiB or has more than 512 keys, but one value is never divided."""
    directory = MemoryDirectory()
    backend = made(*((f"k{number}", "x" * size) for number in range(keys)))
    backend.snapshot()(directory)
    assert max(map(len, directory.pieces)) < (64 << 10) + size + 1000
    assert all(len(decode_value(piece[4:])) <= 512 for piece in directory.pieces)
    fresh = DictBackend(PEER)
    fresh.install_snapshot(directory)
    assert fresh.digest() == backend.digest()


def test_every_truncation_of_a_snapshot_is_seen() -> None:
    """Nothing is ever installed in part (and called whole)."""
    directory = MemoryDirectory()
    made(*((f"k{number}", number) for number in range(600))).snapshot()(directory)
    whole = directory.files["dict"]
    for length in [*range(60), *range(60, len(whole), 97), len(whole) - 1]:
        directory.files["dict"] = whole[:length]
        with pytest.raises(CorruptData):
            DictBackend(PEER).install_snapshot(directory)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\x05",
        b"\x00\x00\x00\x03\x92\x02\x00",
        b"\x00\x00\x00\x03\x92\x01\x00\x00\x00\x00\x01\x05",
        b"\x00\x00\x00\x03\x92\x01\x01\x00\x00\x00\x03\x91\xc4\x00",
        b"\x00\x00\x00\x03\x92\x01\x01\x00\x00\x00\x06\x91\xc4\x03\x92\x80\x01",
    ],
)
def test_what_is_no_snapshot_is_corrupt(content: bytes) -> None:
    """A length beyond reason, another format, other contents, a key that is none: never another exception."""
    directory = MemoryDirectory()
    directory.files["dict"] = content
    with pytest.raises(CorruptData):
        DictBackend(PEER).install_snapshot(directory)


def test_the_order_of_keys_is_not_in_the_digest() -> None:
    """But every key, value and owner is."""
    assert made(["a", 1], ["b", 2]).digest() == made(["b", 2], ["a", 1]).digest()
    digests = [
        made().digest(),
        made(["a", 1]).digest(),
        made(["a", 2]).digest(),
        made(["b", 1]).digest(),
        made(["a", "1"]).digest(),
        made(["a", 1], ["b", 1]).digest(),
    ]
    owned = DictBackend(PEER)
    owned.apply(["a", 1], temporary(1))
    assert len({*digests, owned.digest()}) == 7


def test_a_key_goes_with_its_session() -> None:
    """Its changed keys are named; another session's and permanent keys stay."""
    backend = made(["p", 0])
    for session, key in ((1, "a"), (2, "b"), (1, "c")):
        backend.apply([key, session], temporary(session))
    assert tuple(backend.expire_session(1, CTX)) == ("a", "c")
    assert [backend.query(key).value for key in "abcp"] == [NOT_FOUND, 2, NOT_FOUND, 0]
    assert tuple(backend.expire_session(1, CTX)) == ()


def test_the_last_writer_decides_whose_a_key_is() -> None:
    """A plain write makes it permanent, another session's temporary write takes it over."""
    backend = DictBackend(PEER)
    backend.apply(["a", 1], temporary(1))
    backend.apply(["a", 2], Context(session=1))
    backend.apply(["b", 1], temporary(1))
    backend.apply(["b", 2], temporary(2))
    assert tuple(backend.expire_session(1, CTX)) == ()
    assert tuple(backend.expire_session(2, CTX)) == ("b",)
    assert backend.query("a").value == 2


@given(OWNED)
def test_owners_survive_a_snapshot(steps: list[tuple[str, int, str]]) -> None:
    """A model of keys and owners agrees, and the installed copy loses the same keys with each session."""
    backend, owner = DictBackend(PEER), dict[str, int]()
    for key, session, what in steps:
        if what == "end":
            gone = {name for name, own in owner.items() if own == session and session}
            assert set(backend.expire_session(session, CTX)) == gone
            owner = {name: own for name, own in owner.items() if name not in gone}
        elif what == "put":
            backend.apply([key, session], Context(session=session or None, temporary=bool(session)))
            owner[key] = session
        else:
            backend.apply([key], CTX)
            owner.pop(key, None)
    copy = restored(backend)
    for session in (1, 2):
        gone = {name for name, own in owner.items() if own == session}
        assert set(copy.expire_session(session, CTX)) == gone
        assert set(backend.expire_session(session, CTX)) == gone
    assert copy.size == backend.size == sum(not own for own in owner.values())


def test_a_captured_state_is_written_once() -> None:
    """What was written is freed as it goes; a second copy of it would be empty, and is refused."""
    backend = DictBackend(PEER)
    backend.apply(("a", 1), Context())
    write = backend.snapshot()
    directory = MemoryDirectory()
    write(directory)
    with pytest.raises(UsageError, match="written once"):
        write(MemoryDirectory())
    again = DictBackend(PEER)
    again.install_snapshot(directory)
    assert again.query("a").value == 1
    assert backend.query("a").value == 1
