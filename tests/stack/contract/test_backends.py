"""Backends: what they are told, what becomes of what they return and raise."""

from __future__ import annotations

import time
from typing import Any

import pytest

import zraft
from tests.stack.contract.backends import Drop, Put, Size
from tests.stack.contract.conftest import Nodes

FATAL = ("MemoryError", "RecursionError", "OSError", "SystemError")


def test_apply_returns_the_result_and_query_the_state(nodes: Nodes) -> None:
    """Also wrapped in `Applied` and `Answer`."""
    first, *_ = nodes.group("counter")
    assert nodes.client.write(first, 5).result == 5
    assert nodes.client.write(first, -2).result == 3
    assert nodes.client.query(first, None).result == 3


def test_a_refusal_is_told_as_given_and_changes_nothing(nodes: Nodes) -> None:
    """`Reject(code, detail)` is `Rejected` with the same two, and `executed` is "no"."""
    first, *_ = nodes.group("counter")
    with pytest.raises(zraft.Rejected) as refused:
        nodes.client.write(first, -1)
    assert (refused.value.code, refused.value.detail) == ("negative", {"would_be": -1})
    assert refused.value.executed == "no"
    assert nodes.client.query(first, None).result == 0


@pytest.mark.parametrize("kind", ["ValueError", "KeyError", "AssertionError"])
def test_any_other_exception_is_told_by_its_class_name_only(nodes: Nodes, kind: str) -> None:
    """The state is not rolled back: `executed` is "yes". A query that raises changed nothing."""
    first, *_ = nodes.group("thrower")
    with pytest.raises(zraft.BackendError) as failed:
        nodes.client.write(first, kind)
    assert (failed.value.type, failed.value.executed) == (kind, "yes")
    assert "secret" not in str(failed.value)
    with pytest.raises(zraft.BackendError) as failed:
        nodes.client.query(first, kind)
    assert (failed.value.type, failed.value.executed) == (kind, "no")
    with pytest.raises(zraft.Rejected) as refused:
        nodes.client.query(first, "reject")
    assert (refused.value.code, refused.value.detail, refused.value.executed) == ("no", [1], "no")
    assert nodes.client.query(first, "seen").result == [kind]


def test_a_result_that_does_not_travel_is_an_error_of_its_own(nodes: Nodes) -> None:
    """The command has run on every replica; the peer lives."""
    first, *_ = nodes.group("thrower")
    with pytest.raises(zraft.BackendError) as failed:
        nodes.client.write(first, "set")
    assert failed.value.executed == "yes"
    assert nodes.client.stat(first).role == "leader"


@pytest.mark.parametrize("kind", FATAL)
def test_what_other_replicas_need_not_meet_stops_the_peer(nodes: Nodes, kind: str) -> None:
    """The peer stays down with its reason; the node and its other peers serve on."""
    peers, others = nodes.group("thrower"), nodes.group()
    with pytest.raises(zraft.RequestError) as failed:
        nodes.client.write(peers[0], kind, timeout=5)
    assert failed.value.executed in ("maybe", "yes")
    status = nodes.client.stat(peers[0])
    assert status.role == "failed"
    assert kind in (status.fault or "")
    assert nodes.client.write(others[0], ("still", "here")).result == "ok"
    with pytest.raises(zraft.PeerUnavailable):
        nodes.client.query_local(peers[0], "seen")


def test_the_context_says_what_the_entry_is(nodes: Nodes) -> None:
    """Its place, the replicated time since the group's birth, the leader's clock, and who writes."""
    first, *_ = nodes.group("teller")
    before = time.time() * 1000
    told, again = (nodes.client.write(first, number) for number in (1, 2))
    seen: dict[str, Any] = told.result
    assert seen["command"] == 1
    assert seen["index"] == told.index
    assert seen["term"] == nodes.client.stat(first).term
    assert again.index > told.index
    assert 0 <= seen["time"] <= again.result["time"] < 60_000
    assert before - 60_000 < seen["wall"] < before + 60_000
    assert (seen["session"], seen["temporary"], seen["version"]) == (None, False, 1)
    assert nodes.client.query(first, "q").result == {"query": "q", "peer": str(told.target)}


def test_chance_is_drawn_from_the_index(nodes: Nodes) -> None:
    """Equal on every replica, so it depends on nothing else: here two groups with the same log."""
    drawn = []
    for _ in range(2):
        first, *_ = nodes.group("teller")
        told = [nodes.client.write(first, number) for number in range(3)]
        drawn.append({one.index: (one.result["random"], one.result["bytes"]) for one in told})
    for numbers, data in drawn[0].values():
        assert all(0 <= number < 1 for number in numbers)
        assert numbers[0] != numbers[1]
        assert len(data) == 20
    assert len({str(value) for value in drawn[0].values()}) == 3
    assert all(drawn[1][index] == value for index, value in drawn[0].items() if index in drawn[1])
    assert drawn[0].keys() & drawn[1].keys()


def test_commands_and_queries_may_have_types(nodes: Nodes) -> None:
    """What is not of them is refused at the backend's door, and its clients may send the types themselves."""
    first, *_ = nodes.group("typed")
    assert nodes.client.write(first, Put("a", 1)).result == ["a", 1]
    assert nodes.client.write(first, {"type": "put", "key": "b", "value": 2}).result == ["b", 2]
    assert nodes.client.query(first, Size(above=1)).result == 1
    assert nodes.client.write(first, Drop("nothing")).result is zraft.NOT_FOUND
    for wrong in ({"type": "put", "key": 1, "value": 2}, "nonsense", None):
        with pytest.raises(zraft.Rejected) as refused:
            nodes.client.write(first, wrong)
        assert refused.value.code == "bad_command"
    with pytest.raises(zraft.Rejected) as refused:
        nodes.client.query(first, "nonsense")
    assert refused.value.code == "bad_query"


def test_what_is_due_is_done_when_its_time_has_come(nodes: Nodes) -> None:
    """By an entry that the leader proposes, on every replica at the same replicated time; nobody need write."""
    peers = nodes.group("timed")
    until = nodes.client.write(peers[0], ("short", 50)).result
    nodes.client.write(peers[0], ("long", 600_000))
    deadline = time.monotonic() + 60
    for peer in peers:
        while len(found := nodes.client.query_local(peer, None)["gone"]) < 1:
            assert time.monotonic() < deadline
        ((key, was_due, at),) = found
        assert (key, was_due) == ("short", until)
        assert until <= at
        assert nodes.client.query_local(peer, None) == {
            "keys": ["long"],
            "gone": nodes.client.query_local(peers[0], None)["gone"],
        }


def test_the_dict_backend_stores_removes_and_finds(nodes: Nodes) -> None:
    """`(key, value)` and `(key,)` answer "ok", what is missing is `NOT_FOUND`."""
    first, *_ = nodes.group()
    assert nodes.client.write(first, ("k", {"v": [1, 2.5, None, True, b"x"]})).result == "ok"
    assert nodes.client.query(first, "k").result == {"v": [1, 2.5, None, True, b"x"]}
    assert nodes.client.write(first, ("k",)).result == "ok"
    assert nodes.client.write(first, ("k",)).result is zraft.NOT_FOUND
    assert nodes.client.query(first, "k").result is zraft.NOT_FOUND
    for wrong in (5, "k", ("a", "b", "c"), ()):
        with pytest.raises(zraft.Rejected) as refused:
            nodes.client.write(first, wrong)
        assert refused.value.executed == "no"


def test_a_backend_that_no_node_has_is_unknown(nodes: Nodes) -> None:
    """A remote party names a backend, also one that could be imported; no node imports it."""
    for name in ("nope", "zraft.machine.dict_backend:DictBackend", "os"):
        wanted = nodes.names()
        with pytest.raises(zraft.CreateError) as refused:
            nodes.client.create(wanted, name)
        assert refused.value.errors == dict.fromkeys(wanted, "unknown_backend")
