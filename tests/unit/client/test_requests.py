"""Requests on their way: redirected, repeated, timed out, lost, refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.unit.client.world import JumpingLoop, World, peers
from zraft.client import functions
from zraft.client.client import Client
from zraft.errors import (
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    ProtocolError,
    Rejected,
    RequestTimeout,
    UsageError,
)
from zraft.limits import UNANSWERED_REQUESTS
from zraft.types import NOT_FOUND, PeerId
from zraft.wire.requests import PeerStatus, Query, Result, Stat, Status, Write
from zraft.wire.values import encode_value

A, B, C = GROUP = peers("a", "b", "c")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """No node listens yet."""
    return World(monkeypatch)


def done(request: Any, value: object = "ok", index: int = 9) -> Result:
    """The request is done."""
    return Result(request.id, index, raw(value))


def raw(value: object) -> Any:
    """As it travels."""
    return msgspec.Raw(encode_value(value))


def follower_of(leader: PeerId | None, own: PeerId, role: str = "follower") -> Callable[[Any], Any]:
    """A node whose peer follows `leader`."""

    def answer(request: Any) -> Any:
        if isinstance(request, Stat):
            return Status(request.id, PeerStatus(own, role, term=3, leader=leader, conf_index=1, peers=tuple(GROUP)))
        return NotLeader(leader=leader)

    return answer


def leader(own: PeerId) -> Callable[[Any], Any]:
    """A node whose peer leads."""

    def answer(request: Any) -> Any:
        if isinstance(request, Stat):
            return Status(request.id, PeerStatus(own, "leader", term=3, leader=own, conf_index=1, peers=tuple(GROUP)))
        return done(request)

    return answer


def test_a_write_is_answered_with_result_leader_and_index(world: World) -> None:
    """A tuple of two with an index."""
    world.nodes[A.node] = leader(A)
    answer = world.run(lambda client: client.write(A, ("k", "v")))
    assert (tuple(answer), answer.index) == (("ok", A), 9)
    (write,) = world.requests(Write)
    assert (write.peer, bytes(write.command)) == ("a", encode_value(("k", "v")))


def test_a_write_follows_the_leader(world: World) -> None:
    """The returned target is who did it."""
    world.nodes = {A.node: follower_of(B, A), B.node: leader(B)}
    assert world.run(lambda client: client.write(str(A), 1)).target == B


def test_a_write_waits_while_nobody_leads(world: World) -> None:
    """Every voter is asked until one says that it leads."""
    world.nodes = {peer.node: follower_of(None, peer) for peer in GROUP}

    async def story(client: Client) -> Any:
        asyncio.get_running_loop().call_later(1.0, world.nodes.__setitem__, C.node, leader(C))
        return (await client.write(A, 1)).target

    assert world.run(story) == C


def test_a_timeout_names_the_voters_that_are_missing(world: World) -> None:
    """One of three answers: no quorum, no leader."""
    world.nodes[A.node] = follower_of(B, A)
    with pytest.raises(RequestTimeout, match=r"no leader: 1 of 3 voters answer, missing b@.*, c@") as caught:
        world.run(lambda client: client.write(A, 1, timeout=2))
    assert caught.value.executed == "no"
    assert isinstance(caught.value, TimeoutError)


def test_a_write_that_nobody_answers_may_have_run(world: World) -> None:
    """It was sent, and the time is up."""
    world.nodes[A.node] = lambda request: None
    with pytest.raises(RequestTimeout, match="did not answer within 3 s") as caught:
        world.run(lambda client: client.write(A, 1, timeout=3))
    assert caught.value.executed == "maybe"


def test_a_query_that_nobody_answers_has_no_effect(world: World) -> None:
    """Reads never have one."""
    world.nodes[A.node] = lambda request: None
    with pytest.raises(RequestTimeout) as caught:
        world.run(lambda client: client.query(A, 1, timeout=3))
    assert caught.value.executed == "no"


def test_each_request_has_a_deadline_of_its_own(world: World) -> None:
    """A later one with less patience ends first; a reply after that is dropped."""
    world.nodes[A.node] = lambda request: None

    async def story(client: Client) -> list[float]:
        loop = asyncio.get_running_loop()

        async def wait(seconds: float | None) -> float:
            with pytest.raises((RequestTimeout, OutcomeUnknown)):
                await client.write(A, 1, timeout=seconds)
            return loop.time()

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(wait(seconds)) for seconds in (3.0, 1.0, 2.0, None)]
            loop.call_later(2.5, lambda: world.links[A.node].answer(done(world.requests(Write)[1])))
            loop.call_later(9, lambda: world.links.pop(A.node).lose())
        return [round(task.result(), 1) for task in running]

    assert world.run(story) == [3.0, 1.0, 2.0, 9.0]


def test_a_write_whose_connection_is_lost_is_unknown(world: World) -> None:
    """It may have run, so it is not sent again."""
    world.nodes[A.node] = lambda request: world.links[A.node].lose()
    with pytest.raises(OutcomeUnknown, match="it broke") as caught:
        world.run(lambda client: client.write(A, 1))
    assert caught.value.executed == "maybe"
    assert len(world.requests(Write)) == 1


def test_a_query_whose_connection_is_lost_is_asked_elsewhere(world: World) -> None:
    """Reads may run twice: the search finds who leads now."""

    def lose(request: Any) -> Any:
        world.nodes[A.node] = follower_of(None, A)
        world.nodes[C.node] = leader(C)
        world.links[B.node].lose()

    world.nodes = {A.node: follower_of(B, A), B.node: lose}
    assert world.run(lambda client: client.query(A, 1)).target == C
    assert len(world.requests(Query)) == 3


def test_nothing_listens_where_the_peer_should_be(world: World) -> None:
    """Told at once, whatever the timeout; nothing ran."""
    with pytest.raises(PeerUnavailable, match="nothing listens there") as caught:
        world.run(lambda client: client.write(A, 1, timeout=None))
    assert caught.value.executed == "no"


def test_a_node_that_does_not_finish_the_handshake_is_not_waited_for(world: World) -> None:
    """With little patience it is a timeout, with more the node counts as unreachable."""
    world.silent.add(A.node)
    with pytest.raises(RequestTimeout, match="was not reached within 1 s") as caught:
        world.run(lambda client: client.write(A, 1, timeout=1))
    assert caught.value.executed == "no"
    with pytest.raises(PeerUnavailable, match="no answer"):
        world.run(lambda client: client.write(A, 1, timeout=60))


def test_a_lost_leader_is_replaced_by_the_one_that_the_voters_name(world: World) -> None:
    """The peer that was asked still names the dead one; the search looks further."""
    world.nodes = {A.node: follower_of(B, A), C.node: leader(C)}
    assert world.run(lambda client: client.write(A, 1)).target == C


def test_without_redirect_the_leader_is_named(world: World) -> None:
    """The error says who leads."""
    world.nodes[A.node] = follower_of(B, A)
    with pytest.raises(NotLeader) as caught:
        world.run(lambda client: client.write(A, 1, redirect=False))
    assert caught.value.leader == B


def test_a_refusal_of_the_backend_is_raised(world: World) -> None:
    """With its code and detail."""
    world.nodes[A.node] = lambda request: Rejected("full", ["of", 1])
    with pytest.raises(Rejected) as caught:
        world.run(lambda client: client.write(A, 1))
    assert (caught.value.code, caught.value.detail, caught.value.executed) == ("full", ["of", 1], "no")


def test_searches_are_shared(world: World) -> None:
    """A thousand requests that look for a leader ask every voter as often as one does."""
    world.nodes = {peer.node: follower_of(None, peer) for peer in GROUP}

    async def story(client: Client) -> None:
        asyncio.get_running_loop().call_later(0.001, world.nodes.__setitem__, C.node, leader(C))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(1000):
                tasks.create_task(client.write(A, 1))

    world.run(story)
    assert len(world.requests(Stat)) <= 10


def test_a_cancelled_call_leaves_nothing_behind(world: World) -> None:
    """Its reply, when it comes, belongs to nobody; the connection goes on."""
    world.nodes[A.node] = lambda request: None

    async def story(client: Client) -> object:
        async with asyncio.TaskGroup() as tasks:
            lost = tasks.create_task(client.write(A, 1))
            await world.was_asked.wait()
            lost.cancel()
        world.links[A.node].answer(done(world.requests(Write)[0]))
        world.nodes[A.node] = leader(A)
        return (await client.write(A, 2)).result

    assert world.run(story) == "ok"


def test_a_full_connection_refuses_more(world: World) -> None:
    """Nothing was sent, so it may be tried again."""
    world.nodes[A.node] = leader(A)

    async def story(client: Client) -> None:
        await client.write(A, 1)
        world.links[A.node].is_full = True
        with pytest.raises(Overloaded) as caught:
            await client.write(A, 2)
        assert caught.value.executed == "no"

    world.run(story)
    assert UNANSWERED_REQUESTS > 1000


def test_a_query_of_one_peer_goes_there_and_nowhere_else(world: World) -> None:
    """With the index that it has to have applied; NOT_FOUND is the same object again."""
    world.nodes[A.node] = lambda request: done(request, NOT_FOUND)
    assert world.run(lambda client: client.query_local(A, "k", min_index=7)) is NOT_FOUND
    (query,) = world.requests(Query)
    assert (query.local, query.min_index) == (True, 7)
    with pytest.raises(UsageError):
        world.run(lambda client: client.query_local(A, "k", min_index=-1))


def test_a_status_is_what_the_peer_says(world: World) -> None:
    """Every field, with the peers as a tuple."""
    world.nodes[A.node] = follower_of(B, A)
    status = world.run(lambda client: client.stat(A))
    assert (status.id, status.role, status.term, status.leader, status.peers) == (A, "follower", 3, B, tuple(GROUP))


def test_an_answer_of_the_wrong_kind_is_a_protocol_error(world: World) -> None:
    """The node is not what it should be."""
    world.nodes[A.node] = done
    with pytest.raises(ProtocolError):
        world.run(lambda client: client.stat(A))


def test_a_closed_client_refuses(world: World) -> None:
    """And what waited ended as lost."""
    world.nodes[A.node] = lambda request: None

    async def story(client: Client) -> None:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(expect_lost(client))
            await world.was_asked.wait()
            await client.aclose()
        assert waiting.result() == "maybe"
        with pytest.raises(UsageError, match="closed"):
            await client.write(B, 1)

    world.run(story)
    assert world.ended == [A.node]


async def expect_lost(client: Client) -> str:
    """What the error of a lost write says about it."""
    with pytest.raises(OutcomeUnknown) as caught:
        await client.write(A, 1)
    return caught.value.executed


def test_an_error_that_nobody_expected_ends_the_client(world: World) -> None:
    """It is raised where the client is closed, not only printed."""
    world.nodes[A.node] = leader(A)

    async def story() -> None:
        client = Client()
        await client.write(A, 1)
        world.links[A.node].handlers.failed(ZeroDivisionError("a bug"))
        with pytest.raises(ZeroDivisionError):
            await client.aclose()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(story())


def test_functions_use_one_client_for_each_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the secret of the environment; it ends with the loop, and a closed loop is forgotten."""
    monkeypatch.setenv("ZRAFT_CLIENT_SECRET", "shh")
    world.nodes[A.node] = leader(A)

    async def story() -> Client:
        assert (await functions.write(A, 1)).result == "ok"
        assert (await functions.query(A, 1)).result == "ok"
        assert (await functions.stat(A)).id == A
        return functions.default_client()

    clients = []
    for _ in range(2):
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            clients.append(runner.run(story()))
    assert clients[0] is not clients[1]
    assert [target.secret for target in world.targets] == [b"shh"] * 2
    assert len(functions._CLIENTS) <= 1


def test_another_client_may_be_given_to_functions(world: World) -> None:
    """`client=` takes the place of the loop's own."""
    world.nodes[A.node] = leader(A)

    async def story(client: Client) -> object:
        return (await functions.write(A, 1, client=client)).result

    assert world.run(story) == "ok"
    assert [target.secret for target in world.targets] == [None]
