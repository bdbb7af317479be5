"""Clients: the functions, the light session, and their blocking forms, with every result and error that is promised."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest

import zraft
from tests.stack.contract.backends import Gate
from tests.stack.contract.conftest import Nodes
from zraft import blocking
from zraft.testing import BlockingCluster

T = TypeVar("T")
WAIT_S = 60.0
FUNCTIONS = (
    "create",
    "ensure",
    "write",
    "query",
    "query_local",
    "get_conf",
    "set_new_conf",
    "remove",
    "transfer_leadership",
    "stat",
)
STATUS = (
    "id role term leader first_index last_index last_term commit_index last_applied snapshot_index snapshot_term "
    "conf_index peers sessions watchers ephemerals backend fault"
)


def run(story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(3 * WAIT_S):
            return await story()

    return asyncio.run(bounded())


@pytest.fixture(scope="module")
def peers(nodes: Nodes) -> list[zraft.PeerId]:
    """A group of the backend "dict" whose leader is whoever led last."""
    return nodes.group()


def leader_of(nodes: Nodes, peers: list[zraft.PeerId]) -> zraft.PeerId:
    return nodes.client.get_conf(peers[0], timeout=WAIT_S).leader


def test_every_function_is_a_coroutine_a_method_and_blocking() -> None:
    """The module's functions take `client=`, too; keyword arguments have the promised defaults."""
    for name in FUNCTIONS:
        assert inspect.iscoroutinefunction(getattr(zraft, name))
        assert inspect.iscoroutinefunction(getattr(zraft.Client, name))
        assert not inspect.iscoroutinefunction(getattr(blocking, name))
        given = inspect.signature(getattr(zraft, name)).parameters
        assert given["client"].kind is inspect.Parameter.KEYWORD_ONLY
        assert given["timeout"].default == (30.0 if name == "ensure" else 5.0)
        assert given["timeout"].kind is inspect.Parameter.KEYWORD_ONLY
    assert inspect.signature(zraft.create).parameters["backend"].default == "dict"
    assert inspect.signature(zraft.write).parameters["redirect"].default is True
    session = inspect.signature(zraft.light_session).parameters
    for name, default in (("fail_timeout", None), ("election_timeout", None), ("retry_unknown", False)):
        assert session[name].default is default


def test_a_write_names_the_leader_and_has_an_index(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """`(result, target)`; asked at any peer, given as a peer or as text, by the module or by a client."""

    async def story() -> None:
        leader = (await zraft.get_conf(peers[0], timeout=WAIT_S)).leader
        async with zraft.Client() as client:
            last = 0
            for number, peer in enumerate(peers):
                for target in (peer, str(peer)):
                    answer = await zraft.write(target, ("k", number))
                    result, led = answer
                    assert (result, led) == ("ok", leader)
                    assert answer.index > last
                    last = answer.index
                    found = await client.query(target, "k", timeout=timedelta(seconds=WAIT_S))
                    assert tuple(found) == (number, leader)
                    assert found.index >= last
                    assert (await zraft.query(target, "k", client=client, timeout=None))[0] == number

    run(story)


def test_without_redirect_only_the_named_peer_is_asked(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """One that does not lead says who does; the leader answers."""
    leader = leader_of(nodes, peers)
    other = next(peer for peer in peers if peer != leader)
    for call in (nodes.client.write, nodes.client.query):
        with pytest.raises(zraft.NotLeader) as refused:
            call(other, ("k", 1), redirect=False)
        assert refused.value.leader == leader
        assert refused.value.executed == "no"
        assert call(leader, ("k", 1), redirect=False).target == leader


def test_a_local_query_has_applied_what_it_was_told_to(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """At each peer; an index that does not come is waited for until the time is up."""
    index = nodes.client.write(peers[0], ("local", 1)).index
    for peer in peers:
        assert nodes.client.query_local(peer, "local", min_index=index) == 1
    assert nodes.client.query_local(peers[0], "nothing") is zraft.NOT_FOUND
    with pytest.raises(zraft.RequestTimeout) as late:
        nodes.client.query_local(peers[1], "local", min_index=index + 1_000_000, timeout=0.1)
    assert late.value.executed == "no"
    with pytest.raises(zraft.UsageError):
        nodes.client.query_local(peers[1], "local", min_index=-1)


def test_the_configuration_and_the_status_say_how_things_are(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """Both are frozen."""
    conf = nodes.client.get_conf(str(peers[1]))
    assert sorted(conf.peers) == sorted(peers)
    assert tuple(conf.learners) == ()
    assert conf.leader in peers
    index = nodes.client.write(peers[0], ("k", 1)).index
    for peer in peers:
        nodes.client.query_local(peer, "k", min_index=index)
        status = nodes.client.stat(peer)
        assert set(STATUS.split()) <= {field.name for field in dataclasses.fields(status)}
        assert (status.id, status.leader, status.fault, status.backend) == (peer, conf.leader, None, "dict")
        assert status.role == ("leader" if peer == conf.leader else "follower")
        assert status.conf_index == conf.index
        assert sorted(status.peers) == sorted(peers)
        assert 1 <= status.first_index <= status.last_applied <= status.commit_index <= status.last_index
        assert (status.sessions, status.watchers, status.ephemerals) == (0, 0, 0)
        with pytest.raises(dataclasses.FrozenInstanceError):
            status.term = 0  # type: ignore[misc]  # that it cannot be done is the point


def test_leadership_is_given_to_whom_is_named(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """To each in turn, to the leader itself, and to nobody who does not vote."""
    for to in (*peers, peers[-1]):
        assert nodes.client.transfer_leadership(peers[0], str(to), timeout=WAIT_S) == to
        assert nodes.client.stat(to).role == "leader"
        assert nodes.client.write(peers[0], ("k", 1)).target == to
    with pytest.raises(zraft.MembershipError):
        nodes.client.transfer_leadership(peers[0], "stranger@127.0.0.1:1")


def test_members_are_exchanged_and_what_is_left_over_removed(nodes: Nodes) -> None:
    """Any set to any set; `old_peers` must be the present ones; only who belongs to no configuration is removed."""
    names = nodes.names()
    client = nodes.client
    (first,) = client.create(names[:1])
    client.write(first, ("k", "v"))
    assert client.set_new_conf(first, names, names[:1], timeout=WAIT_S) == names
    assert sorted(client.get_conf(first).peers) == sorted(names)
    with pytest.raises(zraft.PeersChanged) as refused:
        client.set_new_conf(first, names[:2], names[:1])
    assert refused.value.executed == "no"
    with pytest.raises(zraft.MembershipError):
        client.remove(names[1:2])
    assert client.set_new_conf(names[1], names[1:], list(map(str, names)), timeout=WAIT_S) == names[1:]
    assert client.query(names[2], "k", timeout=WAIT_S).result == "v"
    assert client.remove(names[:1], timeout=WAIT_S) is None  # type: ignore[func-returns-value]  # None is promised
    with pytest.raises(zraft.PeerUnavailable):
        client.stat(names[0])


def test_nobody_there_is_unavailable(nodes: Nodes, peers: list[zraft.PeerId], dead: str) -> None:
    """No node, or a node without such a peer: nothing ran."""
    for peer in (f"p@{dead}", f"nobody@{peers[0].node}"):
        for call in (
            lambda peer: nodes.client.write(peer, 1),
            lambda peer: nodes.client.query(peer, 1),
            lambda peer: nodes.client.query_local(peer, 1),
            nodes.client.stat,
            nodes.client.get_conf,
            nodes.client.light_session,
            lambda peer: nodes.client.transfer_leadership(peer, peer),
            lambda peer: nodes.client.remove([peer]),
        ):
            with pytest.raises(zraft.PeerUnavailable) as unavailable:
                call(peer)
            assert unavailable.value.executed == "no"


@pytest.mark.parametrize("timeout", [-1, "5", float("nan"), True, b""])
def test_what_is_no_timeout_is_the_callers_mistake(nodes: Nodes, peers: list[zraft.PeerId], timeout: Any) -> None:
    """Durations are seconds: int, float or timedelta."""
    with pytest.raises(zraft.UsageError):
        nodes.client.write(peers[0], ("k", 1), timeout=timeout)
    with pytest.raises(zraft.UsageError):
        nodes.client.ensure(peers, timeout=timeout)


@pytest.mark.parametrize("timeout", [0, 0.0, timedelta(0)])
def test_no_time_at_all_is_over_at_once(nodes: Nodes, peers: list[zraft.PeerId], timeout: Any) -> None:
    """Whether or not it was sent, a read never ran."""
    for call in (nodes.client.query, nodes.client.query_local):
        with pytest.raises(zraft.RequestTimeout) as late:
            call(peers[0], "k", timeout=timeout)
        assert late.value.executed == "no"
    with pytest.raises(zraft.RequestTimeout) as late:
        nodes.client.write(peers[0], ("never", 1), timeout=timeout)
    assert late.value.executed in ("no", "maybe")


def test_a_light_session_writes_and_reads(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """Made from one peer or a list, awaited or entered; `write_entry` tells the index, `write_many` is one round."""

    async def story() -> None:
        leader = (await zraft.get_conf(peers[0])).leader
        async with zraft.light_session(str(peers[0])) as session:
            assert isinstance(session, zraft.LightSession)
            assert session.leader == leader
            assert sorted(session.peers) == sorted(peers)
            assert await session.write(("s", 1)) == "ok"
            assert await session.query("s", timeout=timedelta(seconds=5)) == 1
            written = await session.write_entry(("s", 2))
            assert isinstance(written, zraft.Written)
            assert written.result == "ok"
            assert written.index <= (await zraft.stat(leader)).commit_index
            assert await session.write_many([("m", number) for number in range(50)] + [("absent",)]) == [
                *["ok"] * 50,
                zraft.NOT_FOUND,
            ]
            assert await session.write_many([]) == []
            assert await session.query("m") == 49
            result, target = await zraft.write(session, ("s", 3))
            assert (result, target is session) == ("ok", True)
            found = await zraft.query(session, "s")
            assert (found[0], found[1] is session) == (3, True)
            assert found.index >= written.index
        for late in (session.write(("s", 4)), session.query("s"), session.write_many([("s", 4)])):
            with pytest.raises(zraft.SessionClosed):
                await late
        session = await zraft.light_session(peers, fail_timeout=1, election_timeout=timedelta(seconds=1))
        assert session.peers == peers
        assert await session.query("s") == 3
        assert session.leader == leader
        await session.close()
        await session.close()

    run(story)


def test_a_light_session_needs_peers_and_some_that_live(nodes: Nodes, peers: list[zraft.PeerId], dead: str) -> None:
    """None at all: `NoPeers`. All dead: `AllPeersFailed`, at once for as long as `fail_timeout` is."""

    async def story() -> None:
        with pytest.raises(zraft.NoPeers) as none:
            session = await zraft.light_session([])
        assert none.value.executed == "no"
        async with zraft.light_session([f"p@{dead}"], fail_timeout=30) as session:
            for _ in range(2):
                with pytest.raises(zraft.AllPeersFailed) as failed:
                    await session.write(("k", 1))
                assert failed.value.executed == "no"
                assert dead in str(failed.value)
        async with zraft.light_session([f"p@{dead}", *peers]) as session:
            assert await session.write(("k", "found")) == "ok"
            assert session.leader in peers

    run(story)


def test_a_light_session_leads_on_after_the_leader_has_changed(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """A follower names the leader, and nothing was lost on the way."""
    with nodes.client.light_session(peers) as session:
        for to in peers:
            nodes.client.transfer_leadership(peers[0], to, timeout=WAIT_S)
            assert session.write(("k", str(to)), timeout=WAIT_S) == "ok"
            assert session.leader == to
            assert session.query("k") == str(to)


def test_a_call_that_is_cancelled_runs_nevertheless(nodes: Nodes) -> None:
    """Cancelling abandons the wait, not the request."""
    first, *_ = nodes.group("gate")
    Gate.open.clear()
    Gate.entered.clear()

    async def story() -> None:
        async with zraft.light_session(first) as session:
            assert await session.query(None) == []
            assert (await zraft.query(first, None)).result == []
            waiting = [asyncio.create_task(zraft.write(first, "one")), asyncio.create_task(session.write("two"))]
            await asyncio.to_thread(Gate.entered.wait, WAIT_S)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert all(task.cancelled() for task in waiting)
            Gate.open.set()
            assert await session.write("three", timeout=WAIT_S) == 3
            assert sorted(await session.query(None)) == ["one", "three", "two"]

    try:
        run(story)
    finally:
        Gate.open.set()


def test_a_write_that_is_not_answered_in_time_may_have_run(nodes: Nodes) -> None:
    """`executed` is "maybe", and the same session goes on."""
    first, *_ = nodes.group("gate")
    Gate.open.clear()
    try:
        with nodes.client.light_session(first) as session:
            assert session.query(None) == []
            for target in (first, session):
                with pytest.raises(zraft.RequestTimeout) as late:
                    nodes.client.write(target, "slow", timeout=0.05)
                assert late.value.executed == "maybe"
                assert isinstance(late.value, TimeoutError)
            Gate.open.set()
            assert session.write("quick", timeout=WAIT_S) == 3
    finally:
        Gate.open.set()


def test_a_client_owns_its_connections(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """After its end it can be used no more; sessions of it end with it."""

    async def story() -> None:
        async with zraft.Client() as client:
            session = await client.light_session(peers)
            await session.write(("k", 1))
        with pytest.raises(zraft.UsageError):
            await client.write(peers[0], ("k", 1))
        for call in (session.write, session.query, session.write_many):
            with pytest.raises(zraft.SessionClosed):
                await call(("k", 1))

    run(story)


def test_each_event_loop_has_a_default_client(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """One after the other, without a word about unclosed connections."""
    for number in range(3):

        async def story(number: int = number) -> None:
            await zraft.write(peers[0], ("k", number))
            assert (await zraft.query(peers[1], "k")).result == number

        run(story)


def test_blocking_offers_the_same(nodes: Nodes, peers: list[zraft.PeerId]) -> None:
    """For threads and the REPL."""
    result, leader = blocking.write(str(peers[0]), ("b", 1))
    assert (result, leader in peers) == ("ok", True)
    assert blocking.query(peers[1], "b").result == 1
    assert sorted(blocking.get_conf(peers[0]).peers) == sorted(peers)
    assert blocking.stat(leader).role == "leader"
    with blocking.light_session(peers) as session:
        written = session.write_entry(("b", 2))
        assert (session.query("b"), session.write_many([("b", 3), ("b", 4)])) == (2, ["ok", "ok"])
        assert blocking.query_local(peers[0], "b", min_index=written.index) in (2, 3, 4)
        assert session.leader == leader
    with blocking.Client() as client:
        assert client.query(peers[2], "b")[0] == 4
        assert blocking.write(peers[0], ("b", 5), client=client)[0] == "ok"


def test_where_nobody_decides_the_error_says_who_is_missing() -> None:
    """Asked at the leader that is alone, at one that leads no more, and through a session."""
    with BlockingCluster(3, election_timeout=0.5) as cluster:
        client, alone = cluster.client, cluster.peers[cluster.leader()]
        gone = [peer for peer in cluster.peers if peer != alone]
        for peer in gone:
            cluster.stop(cluster.number_of(peer))
        with client.light_session(cluster.peers) as session:
            calls: list[Callable[[], object]] = [
                lambda: client.write(alone, ("k", 1), timeout=0.3),
                lambda: client.query(alone, "k", timeout=0.3),
                lambda: session.write(("k", 1), timeout=0.3),
                lambda: session.write_many([("k", 1)], timeout=0.3),
                lambda: session.query("k", timeout=0.3),
            ]
            for call in calls[::2]:
                assert all(str(peer) in _missing(call) for peer in gone)
            while client.stat(alone).role == "leader":
                time.sleep(0.01)
            for call in calls:
                assert all(str(peer) in _missing(call) for peer in gone)


def _missing(call: Callable[[], object]) -> str:
    """Who is missing, as the timeout says. On a busy machine not every one does: who is slow is not called missing."""
    deadline = time.monotonic() + WAIT_S
    while True:
        with pytest.raises((zraft.RequestTimeout, zraft.OutcomeUnknown, zraft.AllPeersFailed)) as late:
            call()
        head, found, tail = str(late.value).partition("1 of 3 voters answer, missing ")
        if found and isinstance(late.value, zraft.RequestTimeout):
            return tail
        assert time.monotonic() < deadline, head
