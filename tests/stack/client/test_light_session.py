"""Light sessions against nodes that answer by a script: who is asked, how often, and what the caller is told (§6.2)."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import TypeVar

import pytest

import zraft
from tests.stack.client.scripted import HANG_UP, SILENCE, Answer, Script, ScriptedNode, always, done
from tests.stack.clusters import WAIT_S, wait_until
from zraft.client.light_session import LightSession
from zraft.errors import (
    AllPeersFailed,
    NoPeers,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    Rejected,
    RequestError,
    RequestTimeout,
    SessionClosed,
    TooLarge,
    UsageError,
)
from zraft.types import Member, PeerId
from zraft.wire.requests import Conf, GetConf, Query, Request, Write
from zraft.wire.values import decode_value

T = TypeVar("T")

Story = Callable[[list[ScriptedNode]], Awaitable[T]]


def play(size: int, story: Story[T]) -> T:
    """What the story returns, given so many scripted nodes."""

    async def with_nodes() -> T:
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(ScriptedNode()) for _ in range(size)]
            return await story(nodes)

    async def bounded() -> T:
        async with asyncio.timeout(2 * WAIT_S):
            return await with_nodes()

    return asyncio.run(bounded())


def peers(nodes: list[ScriptedNode]) -> list[PeerId]:
    return [node.peer for node in nodes]


def once(first: Answer, then: Script = done) -> Script:
    """The first request gets `first`, every later one what `then` says."""
    answers = iter([first])
    return lambda request: next(answers, None) or then(request)


def follower(leader: PeerId | None) -> Script:
    return always(NotLeader(leader=leader))


def test_no_peers_are_refused_at_once() -> None:
    """There is nobody to ask."""

    async def story(_: list[ScriptedNode]) -> None:
        async with zraft.Client() as client:
            with pytest.raises(NoPeers):
                assert (await client.light_session([])).peers
            with pytest.raises(UsageError):
                assert (await client.light_session("no peer")).peers
            with pytest.raises(UsageError):
                assert (await client.light_session(["a@h:1"], fail_timeout=-1)).peers

    play(0, story)


def test_a_list_is_taken_as_it_is_and_one_peer_is_asked_for_the_configuration() -> None:
    """Only the second costs a request."""

    async def story(nodes: list[ScriptedNode]) -> None:
        a, b = peers(nodes)
        conf = Conf(1, bytes(16), "dict", b, 7, (Member(a, 1), Member(b, 2)))  # type: ignore[arg-type]  # any group
        nodes[0].script = lambda request: (
            Conf(request.id, *(getattr(conf, name) for name in conf.__struct_fields__[1:]))
            if isinstance(request, GetConf)
            else done(request)
        )
        async with zraft.Client() as client:
            listed = await client.light_session([a, str(b)])
            assert (listed.peers, listed.leader) == ([a, b], a)
            assert not nodes[0].asked
            async with client.light_session(str(a)) as session:
                assert (session.peers, session.leader) == ([a, b], b)
                assert await session.write("x") == "ok"
            assert [type(request) for request in nodes[0].asked] == [GetConf]

    play(2, story)


def test_a_session_need_not_be_awaited() -> None:
    """The first request does what awaiting would have done."""

    async def story(nodes: list[ScriptedNode]) -> None:
        async with zraft.Client() as client:
            assert await client.light_session(peers(nodes)).query("x") == "ok"
            assert isinstance(await client.light_session(peers(nodes)), LightSession)

    play(1, story)


def test_results_come_with_the_index_of_their_entry() -> None:
    """`write_entry` tells it; `write` and `query` give the bare result; the functions of the package take a session."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = lambda request: done(request, {"a": [1]}, 42)
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            assert await session.write("x") == {"a": [1]}
            assert await session.write_entry("x") == zraft.Written({"a": [1]}, 42)
            assert await session.query("x") == {"a": [1]}
            written = await zraft.write(session, "x")
            found = await zraft.query(session, "x")
            assert (written.result, written.target, written.index) == ({"a": [1]}, session, 42)
            assert (found.result, found.target, found.index) == ({"a": [1]}, session, 42)

    play(1, story)


def test_a_write_follows_the_leader_that_a_peer_names() -> None:
    """And later ones go there at once."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = follower(nodes[2].peer)
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            assert await session.write("x") == "ok"
            assert session.leader == nodes[2].peer
            assert await session.write("y") == "ok"
            assert [len(node.asked) for node in nodes] == [1, 0, 2]

    play(3, story)


def test_a_peer_that_is_not_there_is_passed_over_and_rests() -> None:
    """It is not asked again before its fail_timeout is over, and then it is."""

    async def story(nodes: list[ScriptedNode]) -> None:
        await nodes[0].stop()
        async with zraft.Client() as client, client.light_session(peers(nodes), fail_timeout=0.3) as session:
            began = time.monotonic()
            assert await session.write("x") == "ok"
            assert session.leader == nodes[1].peer
            await nodes[0].start()
            nodes[1].script = follower(None)
            assert await session.write("y", timeout=10) == "ok"
            assert time.monotonic() - began >= 0.3
            assert len(nodes[0].asked) == 1

    play(2, story)


def test_all_peers_failed_is_said_at_once() -> None:
    """Not after the timeout; with what is wrong with each of them, and the write did not run."""

    async def story(nodes: list[ScriptedNode]) -> None:
        await nodes[0].stop()
        nodes[1].script = always(PeerUnavailable("no peer t here"))
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            with pytest.raises(AllPeersFailed, match=r"nothing listens there.*no peer t here") as caught:
                await session.write("x", timeout=60)
            assert caught.value.executed == "no"
            with pytest.raises(AllPeersFailed):
                await session.write("x", timeout=60)
            assert len(nodes[1].asked) == 1

    play(2, story)


def test_without_a_leader_a_request_waits_and_asks_again() -> None:
    """Each peer once in its election_timeout."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = once(NotLeader())
        nodes[1].script = follower(None)
        async with zraft.Client() as client, client.light_session(peers(nodes), election_timeout=0.2) as session:
            began = time.monotonic()
            assert await session.write("x", timeout=WAIT_S) == "ok"
            assert time.monotonic() - began >= 0.2
            assert len(nodes[0].asked) == 2
            assert len(nodes[1].asked) <= 2

    play(2, story)


@pytest.mark.parametrize("call", ["write", "write_many", "query"])
def test_a_peer_that_does_not_lead_and_says_so_when_time_is_over_is_a_timeout(call: str) -> None:
    """Also where its answer is the last thing that came in time."""

    async def story(nodes: list[ScriptedNode]) -> None:
        jump = 0.0

        def refused(_: object) -> Answer:
            nonlocal jump
            jump = 10 * WAIT_S  # the refusal is on its way: time is over when it is read
            return NotLeader()

        nodes[0].script = refused
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            clock = session._clock
            session._clock = lambda: clock() + jump
            asked: dict[str, Callable[[], Awaitable[object]]] = {
                "write": lambda: session.write("x", timeout=WAIT_S),
                "write_many": lambda: session.write_many(["x"], timeout=WAIT_S),
                "query": lambda: session.query("x", timeout=WAIT_S),
            }
            with pytest.raises(RequestTimeout) as late:
                await asked[call]()
            assert late.value.executed == "no"
            jump = 0.0

    play(1, story)


def test_a_timeout_without_a_leader_says_so_and_promises_that_nothing_ran() -> None:
    """The text has who is missing."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = follower(None)
        await nodes[1].stop()
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            said = ""
            while f"no leader: 1 of 2 voters answer, missing {nodes[1].peer}" not in said:
                with pytest.raises((RequestTimeout, AllPeersFailed)) as late:
                    await session.write("x", timeout=0.5)
                assert late.value.executed == "no"
                said = str(late.value)  # who is slow on a busy machine has not answered by then

    play(2, story)


@pytest.mark.parametrize("answer", [HANG_UP, OutcomeUnknown("leadership was lost")])
def test_a_write_of_unknown_outcome_is_not_repeated(answer: Answer) -> None:
    """The connection broke, or the leader lost its office: only the author can say whether to write again."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = always(answer)
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            with pytest.raises(OutcomeUnknown) as caught:
                await session.write("x")
            assert caught.value.executed == "maybe"
            assert [len(node.asked) for node in nodes] == [1, 0]
            assert await session.write("y") == "ok"
            assert session.leader == nodes[1].peer

    play(2, story)


def test_a_write_of_unknown_outcome_is_repeated_where_its_author_allows_it() -> None:
    """And if it fails in the end, it may have run all the same."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = always(HANG_UP)
        async with zraft.Client() as client, client.light_session(peers(nodes), retry_unknown=True) as session:
            assert await session.write("x") == "ok"
            assert [len(node.asked) for node in nodes] == [1, 1]
        nodes[1].script = always(HANG_UP)
        async with zraft.Client() as client, client.light_session(peers(nodes), retry_unknown=True) as session:
            with pytest.raises(AllPeersFailed) as caught:
                await session.write("x")
            assert caught.value.executed == "maybe"

    play(2, story)


def test_a_query_is_always_repeated() -> None:
    """It has no effect; when it fails it is said not to have run."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = always(HANG_UP)
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            assert await session.query("x") == "ok"
            nodes[1].script = always(HANG_UP)
            with pytest.raises(AllPeersFailed) as caught:
                await session.query("x")
            assert caught.value.executed == "no"

    play(2, story)


def test_a_peer_that_hangs_is_left_for_another() -> None:
    """The write that it kept is unknown; the next goes elsewhere, though the connection stands. Short waits add up."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = always(SILENCE)
        async with zraft.Client() as client, client.light_session(peers(nodes), election_timeout=0.2) as session:
            with pytest.raises(RequestTimeout, match=r"did not answer within 2 s") as caught:
                await session.write("x", timeout=2)
            assert caught.value.executed == "maybe"
            assert await session.write("y") == "ok"
        async with zraft.Client() as client, client.light_session(peers(nodes), election_timeout=0.2) as session:
            while session.leader == nodes[0].peer:
                with suppress(RequestTimeout):
                    await session.write("x", timeout=0.06)
            assert session.leader == nodes[1].peer

    play(2, story)


def test_a_short_timeout_alone_does_not_make_a_peer_fail() -> None:
    """It answers others meanwhile."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = lambda request: SILENCE if isinstance(request, Query) else done(request)
        async with zraft.Client() as client, client.light_session(peers(nodes), election_timeout=1) as session:
            for _ in range(4):
                with pytest.raises(RequestTimeout):
                    await session.query("x", timeout=0.3)
                assert await session.write("y") == "ok"
            assert session.leader == nodes[0].peer

    play(2, story)


def test_a_query_at_a_peer_that_hangs_is_asked_elsewhere() -> None:
    """Long before its own timeout."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = always(SILENCE)
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            began = time.monotonic()
            assert await session.query("x", timeout=30) == "ok"
            assert time.monotonic() - began < 10

    play(2, story)


def test_a_leader_that_hands_over_is_asked_again() -> None:
    """It says that it took nothing; where it goes on handing over, the write did not run."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = once(Overloaded(reason="transferring", retry_after=0.05))
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            assert await session.write("x") == "ok"
            nodes[0].script = always(Overloaded(reason="transferring", retry_after=0.05))
            executed = ""
            while executed != "no":  # "maybe" where the time was up while an attempt was under way
                with pytest.raises(RequestError) as caught:
                    await session.write("x", timeout=0.2)
                executed = caught.value.executed
                assert executed in ("no", "maybe")

    play(1, story)


@pytest.mark.parametrize(
    "error", [Rejected("taken", {"by": 1}), TooLarge("too large"), Overloaded(reason="disk_full"), UsageError("x")]
)
def test_what_every_peer_would_say_is_not_asked_twice(error: Exception) -> None:
    """The backend's answer, or a limit, or a value that does not travel."""

    async def story(nodes: list[ScriptedNode]) -> None:
        if isinstance(error, RequestError):
            nodes[0].script = always(error)
        data = object() if isinstance(error, UsageError) else "x"
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            with pytest.raises(type(error)):
                await session.write(data)
            assert not nodes[1].asked

    play(2, story)


def test_many_writes_travel_together_and_come_back_in_order() -> None:
    """One request each, in the order of the list; an empty list costs nothing."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = lambda request: (
            done(request, decode_value(request.command)) if isinstance(request, Write) else ""
        )
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            assert await session.write_many([]) == []
            assert await session.write_many(list(range(5000))) == list(range(5000))
            assert len(nodes[0].asked) == 5000

    play(1, story)


def test_many_writes_follow_the_leader_in_their_order() -> None:
    """What the old leader refused is sent again, and nothing else."""

    async def story(nodes: list[ScriptedNode]) -> None:
        came: list[object] = []
        count = iter(range(100))

        def old(request: Request) -> Answer:
            return done(request) if next(count) < 3 else NotLeader(leader=nodes[1].peer)

        def new(request: Request) -> Answer:
            assert isinstance(request, Write)
            came.append(decode_value(request.command))
            return Overloaded(reason="transferring", retry_after=0.01) if len(came) == 1 else done(request)

        nodes[0].script, nodes[1].script = old, new
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            assert await session.write_many(list(range(10))) == ["ok"] * 10
            assert came == [*range(3, 10), 3]

    play(2, story)


def test_many_writes_fail_with_the_first_error_and_the_truth_about_all() -> None:
    """ "no" only where none of them ran."""

    async def story(nodes: list[ScriptedNode]) -> None:
        def picky(request: Request) -> Answer:
            assert isinstance(request, Write)
            return Rejected("odd") if decode_value(request.command) % 2 else done(request)

        nodes[0].script = picky
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            with pytest.raises(Rejected) as caught:
                await session.write_many([1, 2, 3])
            assert caught.value.executed == "maybe"
            with pytest.raises(Rejected) as caught:
                await session.write_many([1, 3])
            assert caught.value.executed == "no"
            nodes[0].script = always(HANG_UP)
            with pytest.raises(OutcomeUnknown):
                await session.write_many([1, 2])
            await nodes[0].stop()
            with pytest.raises(AllPeersFailed) as failed:
                await session.write_many([1, 2])
            assert failed.value.executed == "no"

    play(1, story)


def test_more_than_a_connection_takes_at_once_is_sent_all_the_same() -> None:
    """Part after part; what no frame could hold is refused, and what is before and after it is not."""

    async def story(nodes: list[ScriptedNode]) -> None:
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            assert await session.write_many([b"x" * 1_000_000] * 40, timeout=30) == ["ok"] * 40
            with pytest.raises(TooLarge) as caught:
                await session.write_many([b"x" * 10_000_000])
            assert caught.value.executed == "no"
            with pytest.raises(TooLarge) as caught:
                await session.write_many([b"x", b"x" * 10_000_000, b"x"])
            assert caught.value.executed == "maybe"
            assert len(nodes[0].asked) == 42
            with pytest.raises(TooLarge):
                await session.write(b"x" * 10_000_000)

    play(1, story)


def test_a_node_that_accepts_and_says_nothing_is_passed_over() -> None:
    """A connection that is not made within the timeout: the write did not run, and the next one goes elsewhere."""

    async def story(nodes: list[ScriptedNode]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            hanging = PeerId("t", f"127.0.0.1:{mute.getsockname()[1]}")
            async with (
                zraft.Client() as client,
                client.light_session([hanging, *peers(nodes)], election_timeout=0.2) as session,
            ):
                with pytest.raises(RequestTimeout, match="no leader") as caught:
                    await session.write("x", timeout=0.1)
                assert caught.value.executed == "no"
                while session.leader == hanging:
                    with suppress(RequestTimeout):
                        await session.write("x", timeout=0.15)
                assert await session.write("x") == "ok"
            async with zraft.Client() as client:
                session = await client.light_session([hanging])
                async with asyncio.TaskGroup() as tasks:
                    waiting = tasks.create_task(_error_of(session.write("x")))
                    await asyncio.sleep(0.05)
                    await session.close()
                assert isinstance(waiting.result(), SessionClosed)

    play(1, story)


def test_a_closed_session_refuses_and_its_waiting_writes_are_unknown() -> None:
    """They were sent."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = always(SILENCE)
        async with zraft.Client() as client:
            session = await client.light_session(peers(nodes))
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(_error_of(session.write("x")))
                await wait_until("the write came", lambda: bool(nodes[0].asked))
                await session.close()
            assert isinstance(waiting.result(), OutcomeUnknown)
            with pytest.raises(SessionClosed):
                await session.write("x")
            with pytest.raises(SessionClosed):
                await session.query("x")
            await session.close()

    play(1, story)


async def _error_of(work: Awaitable[object]) -> RequestError | None:
    try:
        await work
    except RequestError as error:
        return error
    return None


def test_a_session_has_a_connection_of_its_own_unless_it_shares() -> None:
    """So that a hundred sessions are a hundred connections, and a session that shares costs none."""

    async def story(nodes: list[ScriptedNode]) -> None:
        async with zraft.Client() as client:
            await client.write(nodes[0].peer, "x")
            assert len(nodes[0].links) == 1
            async with client.light_session(peers(nodes), share=True) as session:
                await session.write("x")
                assert len(nodes[0].links) == 1
            assert await client.write(nodes[0].peer, "x")
            async with client.light_session(peers(nodes)) as session:
                await session.write("x")
                assert len(nodes[0].links) == 2
            await wait_until("the session's connection ended", lambda: len(nodes[0].links) == 1)

    play(1, story)


def test_a_lost_connection_is_made_again() -> None:
    """A node that was restarted is found without an error where nothing was under way."""

    async def story(nodes: list[ScriptedNode]) -> None:
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            assert await session.write("x") == "ok"
            await nodes[0].stop()
            await nodes[0].start()
            assert await session.write("x") == "ok"

    play(1, story)


def test_a_cancelled_write_is_forgotten_by_its_caller_alone() -> None:
    """The wait is abandoned, not the request; the session goes on."""

    async def story(nodes: list[ScriptedNode]) -> None:
        nodes[0].script = once(SILENCE)
        async with zraft.Client() as client, client.light_session(peers(nodes)) as session:
            writing = asyncio.create_task(session.write("x"))
            await wait_until("the write came", lambda: bool(nodes[0].asked))
            writing.cancel()
            await asyncio.wait([writing])
            assert writing.cancelled()
            assert len(nodes[0].asked) == 1
            assert await session.write("y") == "ok"

    play(1, story)
