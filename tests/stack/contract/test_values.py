"""Names and values: peers as text, and what commands, queries and results may be."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import zraft
from tests.stack.contract.conftest import Nodes


def nested(levels: int) -> Any:
    """A value that is nested so many levels deep."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_a_peer_is_its_text() -> None:
    """`str` and `parse` are each other's inverse; peers are hashable and ordered."""
    peer = zraft.PeerId("test1", "127.0.0.1:7101")
    assert str(peer) == "test1@127.0.0.1:7101"
    assert zraft.PeerId.parse(str(peer)) == peer
    assert hash(peer) == hash(zraft.PeerId(name="test1", node="127.0.0.1:7101"))
    assert (peer.name, peer.node) == ("test1", "127.0.0.1:7101")
    assert sorted([zraft.PeerId("b", "h:1"), zraft.PeerId("a", "h:2"), zraft.PeerId("a", "h:1")]) == [
        zraft.PeerId("a", "h:1"),
        zraft.PeerId("a", "h:2"),
        zraft.PeerId("b", "h:1"),
    ]
    assert pickle.loads(pickle.dumps(peer)) == peer
    assert zraft.PeerId.parse("a@[::1]:7101").node == "[::1]:7101"
    with pytest.raises(AttributeError):
        peer.name = "other"  # type: ignore[misc]  # that it cannot be done is the point


@pytest.mark.parametrize("name", ["a", "_", "0", "A.b-c_d", "x" * 64])
def test_names_of_peers(name: str) -> None:
    """1 to 64 letters, digits, "_", "." and "-"."""
    assert zraft.PeerId.parse(f"{name}@h:1").name == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "x" * 65, "ä", "a b", "a@b", "a\n", "../a", "a/b"])
def test_what_is_no_name_of_a_peer(name: str) -> None:
    """It would be a file's name, or another word of a message."""
    with pytest.raises(zraft.UsageError):
        zraft.PeerId(name, "h:1")
    with pytest.raises(zraft.UsageError):
        zraft.PeerId("a", 7101)  # type: ignore[arg-type]  # that it is refused is the point


@pytest.mark.parametrize(
    "text", ["", "a", "a@", "@h:1", "a@h", "a@h:", "a@h:x", "a@h:65536", "a@:1", "a@h:1\n", None, 5]
)
def test_what_is_no_peer(text: Any) -> None:
    """`parse` refuses it as the caller's mistake."""
    with pytest.raises(zraft.UsageError):
        zraft.PeerId.parse(text)


VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -(2**63),
    2**63 - 1,
    2**64 - 1,
    1.5,
    float("inf"),
    "",
    "text ü \U0001f600",
    b"",
    b"\x00\xff",
    [],
    {},
    [1, [2, [3]]],
    {"a": {"b": [None]}},
    {1: "int", "s": "str", b"b": "bytes", None: "none", 2.5: "float", (1, "x"): "tuple"},
    datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC),
    zraft.NOT_FOUND,
    [zraft.NOT_FOUND],
]


@pytest.fixture(scope="module")
def first(nodes: Nodes) -> zraft.PeerId:
    """Leads a group of the backend "dict"."""
    return nodes.group()[0]


def test_values_come_back_as_they_were(nodes: Nodes, first: zraft.PeerId) -> None:
    """In a command, a result and a stored value."""
    for value in VALUES:
        nodes.client.write(first, ("k", value))
        found = nodes.client.query(first, "k").result
        assert found == value
        assert type(found) is type(value)


def test_tuples_come_back_as_lists_and_stay_tuples_as_keys(nodes: Nodes, first: zraft.PeerId) -> None:
    """MessagePack has one kind of array."""
    nodes.client.write(first, (("a", 1), (1, (2, 3))))
    assert nodes.client.query(first, ("a", 1)).result == [1, [2, 3]]
    assert nodes.client.query(first, ["a", 1]).result == [1, [2, 3]]
    nodes.client.write(first, ("k", {(1, (2,)): (3,)}))
    assert nodes.client.query(first, "k").result == {(1, (2,)): [3]}


def test_every_kind_of_key_finds_what_was_stored_under_it(nodes: Nodes, first: zraft.PeerId) -> None:
    """And no other."""
    keys = [None, False, 2, 2.5, "2", b"2", datetime(2024, 1, 1, tzinfo=UTC), ("2", 2), ()]
    for number, key in enumerate(keys):
        nodes.client.write(first, (key, number))
    assert [nodes.client.query(first, key).result for key in keys] == list(range(len(keys)))


def test_an_aware_datetime_is_the_same_moment(nodes: Nodes, first: zraft.PeerId) -> None:
    """It comes back in UTC."""
    moment = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    nodes.client.write(first, ("when", moment))
    found = nodes.client.query(first, "when").result
    assert found == moment
    assert found.utcoffset() == timedelta(0)


def test_not_found_is_one_object() -> None:
    """Falsy, also after it was copied or pickled."""
    assert not zraft.NOT_FOUND
    assert copy.deepcopy([zraft.NOT_FOUND])[0] is zraft.NOT_FOUND
    assert pickle.loads(pickle.dumps(zraft.NOT_FOUND)) is zraft.NOT_FOUND
    assert repr(zraft.NOT_FOUND) == "NOT_FOUND"


def test_not_found_is_the_same_object_after_the_wire(nodes: Nodes, first: zraft.PeerId) -> None:
    """As an answer and within one."""
    assert nodes.client.query(first, "missing").result is zraft.NOT_FOUND
    nodes.client.write(first, ("k", {"a": [zraft.NOT_FOUND]}))
    assert nodes.client.query(first, "k").result["a"][0] is zraft.NOT_FOUND


def test_values_are_nested_at_most_64_deep(nodes: Nodes, first: zraft.PeerId) -> None:
    """The command counts as a level. Checked at the door: nothing reaches the log."""
    nodes.client.write(first, ("deep", nested(63)))
    assert nodes.client.query(first, "deep").result == nested(63)
    before = nodes.client.stat(first).last_index
    for value in (nested(64), nested(100_000), {"a": nested(63)}):
        with pytest.raises(zraft.TooLarge) as refused:
            nodes.client.write(first, ("deep", value))
        assert refused.value.executed == "no"
    assert nodes.client.stat(first).last_index == before


NO_VALUES: list[Any] = [
    2**64,
    -(2**63) - 1,
    object(),
    {1, 2},
    datetime(2024, 1, 1),  # noqa: DTZ001 - refused for that
    {float("nan"): 1},
    {(1, float("nan")): 1},
    print,
]


@pytest.mark.parametrize("value", NO_VALUES, ids=lambda value: type(value).__name__)
def test_what_does_not_travel_is_refused_at_the_door(nodes: Nodes, first: zraft.PeerId, value: Any) -> None:
    """As the caller's mistake: it could not be right at another time or place."""
    for call in (nodes.client.write, nodes.client.query):
        with pytest.raises(zraft.UsageError):
            call(first, ("k", value))


def test_a_nan_is_a_value_and_no_key(nodes: Nodes, first: zraft.PeerId) -> None:
    """It equals no key, not even itself."""
    nodes.client.write(first, ("k", float("nan")))
    found = nodes.client.query(first, "k").result
    assert found != found
    with pytest.raises(zraft.Rejected):
        nodes.client.write(first, (float("nan"), 1))


def test_a_command_above_max_command_size_is_too_large(nodes: Nodes, first: zraft.PeerId) -> None:
    """1 MiB where nothing else was set; just below it is stored."""
    nodes.client.write(first, ("big", bytes((1 << 20) - 100)))
    with nodes.client.light_session(first) as session:
        for target in (first, session):
            with pytest.raises(zraft.TooLarge) as refused:
                nodes.client.write(target, ("big", bytes(1 << 20)))
            assert refused.value.executed == "no"
