"""What every built-in backend does alike: keys, temporary data, snapshots, digests."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.machine.dialects import BUILT_IN, CTX, Dialect, keys_of, temporary
from tests.unit.machine.directory import VALUES, MemoryDirectory
from zraft.errors import CorruptData
from zraft.machine.backend import Context, Reject
from zraft.machine.registry import Backends
from zraft.types import NOT_FOUND
from zraft.wire.values import decode_value, encode_value

KEYS = st.text(max_size=3) | st.binary(max_size=3) | st.integers(-3, 3) | st.tuples(st.text(max_size=2), st.just(7))
COMMANDS = st.lists(st.tuples(KEYS, VALUES) | st.tuples(KEYS), max_size=30)
# Few keys and few sessions (0: none), so that they meet.
OWNED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.sampled_from(["put", "delete", "end"])))

each_backend = pytest.mark.parametrize("dialect", BUILT_IN, ids=lambda dialect: dialect.name)


def written(dialect: Dialect, *pairs: tuple[Any, Any]) -> tuple[MemoryDirectory, str]:
    """A snapshot of these, and the name of its file."""
    directory = MemoryDirectory()
    write: Any = dialect.made(*pairs).snapshot()
    write(directory)
    assert directory.names() == [dialect.name]
    return directory, dialect.name


def test_these_are_all_that_a_node_always_knows() -> None:
    """A backend that is added there has to be added here."""
    assert Backends().names() == [dialect.name for dialect in BUILT_IN]


@each_backend
def test_a_key_is_stored_found_and_removed(dialect: Dialect) -> None:
    """Each change names its key; removing what is not there changes nothing."""
    backend = dialect.fresh()
    assert dialect.ask(backend, "k") is NOT_FOUND
    assert dialect.changed(backend, dialect.put("k", 1)) == ("k",)
    assert dialect.apply(backend, dialect.put("k", 2)) == "ok"
    assert dialect.ask(backend, "k") == 2
    assert dialect.apply(backend, dialect.put("j", 1)) == "ok"
    assert dialect.changed(backend, dialect.delete("k")) == ("k",)
    assert dialect.changed(backend, dialect.delete("k")) == ()
    assert dialect.apply(backend, dialect.delete("k")) is NOT_FOUND
    assert dialect.apply(backend, dialect.delete("j")) == "ok"


@each_backend
@pytest.mark.parametrize("key", ["", "k", b"", b"k", 0, -(2**63), 2**64 - 1, ("a", 1, b"\0"), (("a",))])
def test_what_both_take_as_a_key_is_found_again(dialect: Dialect, key: Any) -> None:
    """And is what a watch on it waits for."""
    backend = dialect.made((key, "v"))
    assert dialect.ask(backend, key) == "v"
    assert dialect.changed(backend, dialect.put(key, "w")) == (key,)
    got = dialect.get(key)
    assert backend.query(got).watch == (key,)


@each_backend
@pytest.mark.parametrize("key", [math.nan, {"a": 1}, ["a", math.nan], [{}], NOT_FOUND])
def test_what_cannot_be_a_key_is_refused_and_changes_nothing(dialect: Dialect, key: Any) -> None:
    """NaN would be stored again and again, a dict cannot be hashed."""
    backend = dialect.made(("k", 1))
    for command in (dialect.put(key, 2), dialect.delete(key)):
        with pytest.raises(Reject) as refused:
            backend.apply(command, CTX)
        assert refused.value.code == "bad_key"
    with pytest.raises(Reject):
        backend.query(dialect.get(key))
    assert backend.digest() == dialect.made(("k", 1)).digest()


@each_backend
@given(COMMANDS)
def test_it_holds_what_a_dict_would(dialect: Dialect, commands: list[tuple[Any, ...]]) -> None:
    """Every sequence of commands leaves what the same sequence leaves in a plain dict, also in a copy from a snapshot.

    The copy behaves alike afterwards.
    """
    backend, plain = dialect.fresh(), dict[Any, Any]()
    for key, *value in commands:
        if value:
            assert dialect.apply(backend, dialect.put(key, value[0])) == "ok"
            plain[key] = value[0]
        else:
            result = dialect.apply(backend, dialect.delete(key))
            assert (result is NOT_FOUND) == (plain.pop(key, NOT_FOUND) is NOT_FOUND)
    copy = dialect.restored(backend)
    assert copy.digest() == backend.digest()
    for key, *_ in commands:
        expected = decode_value(encode_value(plain.get(key, NOT_FOUND)))
        assert dialect.ask(copy, key) == dialect.ask(backend, key) == expected
    for each in (backend, copy):
        dialect.apply(each, dialect.put("more", 1))
    assert copy.digest() == backend.digest()


@each_backend
def test_a_snapshot_is_of_the_moment_it_was_captured(dialect: Dialect) -> None:
    """What is applied while it is written is not in it."""
    backend = dialect.made(("a", 1), ("b", 2))
    digest, write = backend.digest(), backend.snapshot()
    for command in (dialect.put("a", 9), dialect.delete("b"), dialect.put("c", 3)):
        dialect.apply(backend, command, temporary(4))
    directory = MemoryDirectory()
    assert callable(write)
    write(directory)
    fresh = dialect.fresh()
    fresh.install_snapshot(directory)
    assert fresh.digest() == digest
    assert backend.digest() != digest


@each_backend
@pytest.mark.parametrize(("keys", "size"), [(0, 0), (511, 1), (512, 1), (1025, 1), (40, 10_000), (2, 300_000)])
def test_a_snapshot_is_written_in_pieces(dialect: Dialect, keys: int, size: int) -> None:
    """No piece is much larger than 64 KiB or has more than 512 keys, but one value is never divided."""
    pairs = [(f"k{number}", "x" * size) for number in range(keys)]
    directory, _ = written(dialect, *pairs)
    assert max(map(len, directory.pieces)) < (64 << 10) + size + 1000
    assert all(len(decode_value(piece[4:])) <= 512 for piece in directory.pieces)
    fresh = dialect.fresh()
    fresh.install_snapshot(directory)
    assert fresh.digest() == dialect.made(*pairs).digest()


@each_backend
def test_every_truncation_of_a_snapshot_is_seen(dialect: Dialect) -> None:
    """Nothing is ever installed in part (and called whole)."""
    directory, name = written(dialect, *((f"k{number}", number) for number in range(600)))
    whole = directory.files[name]
    for length in [*range(60), *range(60, len(whole), 97), len(whole) - 1]:
        directory.files[name] = whole[:length]
        with pytest.raises(CorruptData):
            dialect.fresh().install_snapshot(directory)


@each_backend
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
def test_what_is_no_snapshot_is_corrupt(dialect: Dialect, content: bytes) -> None:
    """A length beyond reason, another format, other contents, a key that is none: never another exception."""
    directory = MemoryDirectory()
    directory.files[dialect.name] = content
    with pytest.raises(CorruptData):
        dialect.fresh().install_snapshot(directory)


@each_backend
def test_the_order_of_keys_is_not_in_the_digest(dialect: Dialect) -> None:
    """But every key, value and owner is."""
    ab, ba = dialect.fresh(), dialect.fresh()
    for index, key, backend in ((1, "a", ab), (2, "b", ab), (2, "b", ba), (1, "a", ba)):
        dialect.apply(backend, dialect.put(key, 1), Context(index=index))
    assert ab.digest() == ba.digest()
    owned = dialect.fresh()
    dialect.apply(owned, dialect.put("a", 1), temporary(1))
    contents: list[list[tuple[Any, Any]]] = [[], [("a", 1)], [("a", 2)], [("b", 1)], [("a", "1")], [("a", 1), ("b", 1)]]
    digests = [dialect.made(*pairs).digest() for pairs in contents]
    assert len({*digests, owned.digest()}) == 7


@each_backend
def test_a_key_goes_with_its_session(dialect: Dialect) -> None:
    """Its changed keys are named; another session's and permanent keys stay."""
    backend = dialect.made(("p", 0))
    for session, key in ((1, "a"), (2, "b"), (1, "c")):
        dialect.apply(backend, dialect.put(key, session), temporary(session))
    assert keys_of(backend.expire_session(1, CTX)) == ("a", "c")
    assert [dialect.ask(backend, key) for key in "abcp"] == [NOT_FOUND, 2, NOT_FOUND, 0]
    assert tuple(backend.expire_session(1, CTX)) == ()


@each_backend
def test_the_last_writer_decides_whose_a_key_is(dialect: Dialect) -> None:
    """A plain write makes it permanent, another session's temporary write takes it over."""
    backend = dialect.fresh()
    dialect.apply(backend, dialect.put("a", 1), temporary(1))
    dialect.apply(backend, dialect.put("a", 2), Context(session=1))
    dialect.apply(backend, dialect.put("b", 1), temporary(1))
    dialect.apply(backend, dialect.put("b", 2), temporary(2))
    assert keys_of(backend.expire_session(1, CTX)) == ()
    assert keys_of(backend.expire_session(2, CTX)) == ("b",)
    assert dialect.ask(backend, "a") == 2


@each_backend
@pytest.mark.parametrize("copied", [False, True])
@given(OWNED)
def test_owners_survive_a_snapshot(dialect: Dialect, copied: bool, steps: list[tuple[str, int, str]]) -> None:
    """A model of keys and owners agrees, and so does a copy that was installed from a snapshot."""
    backend, owner = dialect.fresh(), dict[str, int]()
    for key, session, what in steps:
        if what == "end":
            gone = {name for name, own in owner.items() if own == session and session}
            assert set(keys_of(backend.expire_session(session, CTX))) == gone
            owner = {name: own for name, own in owner.items() if name not in gone}
        elif what == "put":
            ctx = Context(session=session or None, temporary=bool(session))
            dialect.apply(backend, dialect.put(key, session), ctx)
            owner[key] = session
        else:
            dialect.apply(backend, dialect.delete(key))
            owner.pop(key, None)
    if copied:
        backend = dialect.restored(backend)
    for session in (1, 2):
        gone = {name for name, own in owner.items() if own == session}
        assert set(keys_of(backend.expire_session(session, CTX))) == gone
    assert {key for key in "abc" if dialect.ask(backend, key) is not NOT_FOUND} == {
        name for name, own in owner.items() if not own
    }
