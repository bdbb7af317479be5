"""A stream at its client: pieces join, whatever order they come in, and whoever waits is always woken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec
import pytest

from zraft import Changed, ChangeStream, Prefix, table
from zraft.client.connection import Connection
from zraft.errors import Lagged, Overloaded, ProtocolError, RequestError, SessionClosed, UsageError
from zraft.types import PeerId
from zraft.wire.changes import Change, Chunk, encode_chunk, encode_entry
from zraft.wire.requests import Result
from zraft.wire.session_requests import SessionWatch
from zraft.wire.values import decode_value

PEER = PeerId("p", "n1:1")


class Numbers:
    """A connection, as far as a stream needs one."""

    last = 0

    def draw(self) -> int:
        self.last += 1
        return self.last


def chunk(after: int, index: int, **values: Any) -> Chunk:
    """`i7=1`: at index 7 the key k became 1."""
    entries = [encode_entry(int(at[1:]), [Change("k", value)]) for at, value in values.items()]
    return Chunk(after, index, [msgspec.Raw(entry) for entry in entries])


class Leader:
    """Answers in turn with what it was given: a chunk, an error, or None, which waits for ever."""

    id, token = 7, b"t" * 16

    def __init__(self, *answers: Chunk | RequestError | None) -> None:
        self.answers = list(answers)
        self.asked: list[SessionWatch] = []
        self.connection = cast(Connection, Numbers())
        self.unwatched: list[int] = []

    def unwatch(self, connection: Connection, number: int) -> None:
        assert connection is self.connection
        self.unwatched.append(number)

    async def ask_stream(self, stream: ChangeStream) -> Result:
        self.asked.append(stream.request(self.connection, PEER))
        answer = self.answers.pop(0)
        if isinstance(answer, RequestError):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        return Result(self.asked[-1].id, answer.index, msgspec.Raw(encode_chunk(answer)))


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


def test_pieces_join_and_what_comes_twice_is_left_out() -> None:
    """By the indexes that they are about; the next is asked for when the last is given."""

    async def story() -> None:
        leader = Leader(chunk(5, 9, i6=1, i8=2), chunk(7, 12, i8=2, i11=3), None)
        stream = ChangeStream(leader, "k", 5)
        assert [await stream.next() for _ in range(3)] == [
            Changed("k", 1, "put", 6),
            Changed("k", 2, "put", 8),
            Changed("k", 3, "put", 11),
        ]
        assert [request.after for request in leader.asked] == [5, 9]
        assert len({request.watch for request in leader.asked}) == 1
        assert stream.index == 12

    play(story)


def test_the_index_of_a_stream_is_one_to_go_on_from() -> None:
    """Not in the middle of an entry, and none before it has begun."""

    async def story() -> None:
        entry = encode_entry(6, [Change("a", 1), Change("b", 1)])
        leader = Leader(Chunk(4, 9, [msgspec.Raw(entry)]))
        stream = ChangeStream(leader, Prefix(""), None)
        before = stream.index
        steps = [(await stream.next(), stream.index), (await stream.next(), stream.index)]
        assert steps == [(Changed("a", 1, "put", 6), 5), (Changed("b", 1, "put", 6), 9)]
        assert before is None
        assert leader.asked[0].is_prefix
        assert leader.asked[0].after is None

    play(story)


def test_a_piece_that_leaves_a_gap_is_an_error_of_the_node() -> None:
    """Never a silent one."""

    async def story() -> None:
        stream = ChangeStream(Leader(chunk(7, 9, i8=1)), "k", 5)
        with pytest.raises(ProtocolError, match="after 7; it is complete up to 5"):
            await stream.next()

    play(story)


@pytest.mark.parametrize(
    "wrong",
    [
        Chunk(5, 4),
        chunk(5, 9, i5=1),
        chunk(5, 9, i10=1),
        chunk(5, 9, i7=1, i6=1),
        Chunk(5, 9, [msgspec.Raw(b"\x91\x06")]),
        Chunk(5, 9, [msgspec.Raw(b"\x92\x06\x01")]),
        Chunk(5, 9, [msgspec.Raw(b"\x01")]),
    ],
)
def test_a_piece_of_the_wrong_form_is_refused(wrong: Chunk) -> None:
    """Before anything of it is given."""

    async def story() -> None:
        stream = ChangeStream(Leader(wrong), "k", 5)
        with pytest.raises(ProtocolError):
            await stream.next()

    play(story)


def test_who_waits_is_woken_by_what_is_pushed() -> None:
    """Also where that comes before the answer that says that the stream is set."""

    async def story() -> None:
        leader = Leader(chunk(5, 7), chunk(9, 10), chunk(10, 12, i11=2))
        stream = ChangeStream(leader, "k", 5)
        waiting = asyncio.create_task(stream.next())
        await asyncio.sleep(0)
        stream.pushed(chunk(5, 9, i8=1))
        assert await waiting == Changed("k", 1, "put", 8)
        waiting = asyncio.create_task(stream.next())
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiting.done()
        stream.pushed(chunk(9, 9))
        assert await waiting == Changed("k", 2, "put", 11)
        assert [request.after for request in leader.asked] == [5, 9, 10]

    play(story)


def test_a_push_that_overtakes_its_answer_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is not set any more, whatever the answer says."""

    async def story() -> None:
        leader = Leader(chunk(5, 7), chunk(9, 12, i11=2))
        stream = ChangeStream(leader, "k", 5)
        ask = leader.ask_stream

        async def overtaken(of: ChangeStream) -> Result:
            result = await ask(of)
            if len(leader.asked) == 1:
                of.pushed(chunk(5, 9))
            return result

        monkeypatch.setattr(leader, "ask_stream", overtaken)
        assert await stream.next() == Changed("k", 2, "put", 11)

    play(story)


def test_a_set_stream_knows_what_a_ping_has_told() -> None:
    """And goes on from there with the next leader; one that is not set learns nothing from it."""

    async def story() -> None:
        leader = Leader(chunk(5, 7), chunk(20, 22, i21=1))
        stream = ChangeStream(leader, "k", 5)
        stream.marked(100)
        async with stream:
            stream.marked(20)
            assert stream.index == 20
            stream.lost()
            stream.marked(100)
            leader.connection = cast(Connection, Numbers())
            assert await stream.next() == Changed("k", 1, "put", 21)
            assert leader.asked[1].after == 20
        assert leader.unwatched == [leader.asked[1].watch]
        assert await stream.next() is None
        assert [change async for change in stream] == []

    play(story)


def test_a_cancelled_wait_loses_nothing() -> None:
    """The same is asked for again."""

    async def story() -> None:
        leader = Leader(None, chunk(5, 9, i8=1))
        stream = ChangeStream(leader, "k", 5)
        waiting = asyncio.create_task(stream.next())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert await stream.next() == Changed("k", 1, "put", 8)
        assert [request.after for request in leader.asked] == [5, 5]

    play(story)


def test_one_task_iterates() -> None:
    """A second one is told so, and disturbs nobody."""

    async def story() -> None:
        stream = ChangeStream(Leader(None), "k", 5)
        first = asyncio.create_task(stream.next())
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="one task at a time"):
            await stream.next()
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()

    play(story)


def test_an_error_ends_the_stream_unless_it_passes() -> None:
    """What is stopped ends without one."""

    async def story() -> None:
        lagging = ChangeStream(Leader(Lagged(index=30)), "k", 5)
        with pytest.raises(Lagged, match="30") as caught:
            await lagging.next()
        assert caught.value.index == 30
        assert await lagging.next() is None
        busy = ChangeStream(Leader(Overloaded(), chunk(5, 9, i8=1)), "k", 5)
        with pytest.raises(Overloaded):
            await busy.next()
        assert await busy.next() == Changed("k", 1, "put", 8)
        assert [change async for change in ChangeStream(Leader(SessionClosed()), "k", 5)] == []

    play(story)


@pytest.mark.parametrize("index", [-1, True, "7", 1.0, 1 << 63])
def test_what_is_no_index_is_refused_at_once(index: Any) -> None:
    """Before anybody is asked."""
    with pytest.raises(UsageError, match="not an index"):
        ChangeStream(Leader(), "k", index)


def test_a_query_is_no_key() -> None:
    """There are two things called Prefix."""
    with pytest.raises(UsageError, match=r"zraft\.Prefix"):
        ChangeStream(Leader(), table.Prefix("k"), None)
    request = ChangeStream(Leader(), ("a", 1), None).request(cast(Connection, Numbers()), PEER)
    assert (decode_value(request.key), request.is_prefix) == (["a", 1], False)
