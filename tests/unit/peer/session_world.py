"""Sessions of a world's group: what a client asks, and what comes of it, pushes included."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.unit.peer.world import Asker, World
from zraft.errors import RequestError
from zraft.wire.changes import Chunk, Entry, Prefix, decode_chunk, entries_of
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.requests import Reply, Result
from zraft.wire.session_requests import (
    Ping,
    ResumeSession,
    SessionQuery,
    SessionWatch,
    SessionWrite,
    StartSession,
    StopSession,
    Streamed,
    Triggered,
    Unwatch,
    decode_opened,
)
from zraft.wire.values import decode_value, encode_value

TIMEOUT_MS = 3000


class Owner(Asker):
    """A client with a session. It does nothing by itself."""

    def __init__(self, world: World, token: bytes = b"t" * 16, timeout_ms: int = TIMEOUT_MS) -> None:
        super().__init__(f"owner {token[:1]!r}")
        self.world, self.token, self.timeout_ms = world, token, timeout_ms
        self.session = self.sequence = 0
        self.fired: list[Triggered] = []
        self.streamed: list[Streamed] = []

    def take(self, reply: Reply) -> None:
        if isinstance(reply, Triggered):
            self.fired.append(reply)
        elif isinstance(reply, Streamed):
            self.streamed.append(reply)
        else:
            super().take(reply)

    def start(self, node: str) -> int:
        """Opened and answered now; its id."""
        number = self.world.ask(node, lambda n: StartSession(n, "p", self.token, self.timeout_ms), self)
        self.world.settle()
        self.session = self.opened(number)[0]
        return self.session

    def opened(self, number: int) -> tuple[int, int, int]:
        reply = self.reply(number)
        assert isinstance(reply, Result), reply
        found = decode_opened(reply.value)
        return found.session, found.timeout_ms, found.last

    def resume(self, node: str, life: int = 1, session: int = 0) -> int:
        return self.world.ask(node, lambda n: ResumeSession(n, "p", self.token, life, session), self)

    def unwatch(self, node: str, *numbers: int) -> int:
        """Nothing that is set under these numbers is wanted."""
        return self.world.ask(node, lambda n: Unwatch(n, "p", self.session, self.token, list(numbers)), self)

    def ping(self, node: str) -> int:
        return self.world.ask(node, lambda n: Ping(n, "p", self.session, self.token), self)

    def stop(self, node: str) -> int:
        return self.world.ask(node, lambda n: StopSession(n, "p", self.session, self.token), self)

    def write(
        self, node: str, command: Any, sequence: int = 0, acknowledged: int = -1, *, temporary: bool = False
    ) -> int:
        """The next write, or that of `sequence`; it acknowledges all before, or up to `acknowledged`."""
        if not sequence:
            self.sequence += 1
            sequence = self.sequence
        known = sequence - 1 if acknowledged < 0 else acknowledged
        raw = msgspec.Raw(encode_value(command))
        return self.world.ask(
            node, lambda n: SessionWrite(n, "p", self.session, self.token, sequence, known, raw, temporary), self
        )

    def query(self, node: str, query: Any, watch: int = 0) -> int:
        raw = msgspec.Raw(encode_value(query))
        return self.world.ask(node, lambda n: SessionQuery(n, "p", self.session, self.token, raw, watch), self)

    def watch(self, node: str, key: Any, watch: int, after: int | None = None) -> int:
        """The next piece of a stream."""
        prefix = key.key if isinstance(key, Prefix) else key
        raw = msgspec.Raw(encode_value(prefix))
        return self.world.ask(
            node,
            lambda n: SessionWatch(n, "p", self.session, self.token, watch, raw, isinstance(key, Prefix), after),
            self,
        )

    def chunk(self, number: int) -> Chunk:
        """What it brought."""
        reply = self.reply(number)
        assert isinstance(reply, Result), reply
        assert decode_chunk(reply.value).index == reply.index
        return decode_chunk(reply.value)

    def piece(self, node: str, key: Any, watch: int, after: int | None = None) -> tuple[int, list[Entry]]:
        """Up to where it says everything, and what it says, asked and answered at this moment."""
        number = self.watch(node, key, watch, after)
        self.world.settle()
        chunk = self.chunk(number)
        assert after is None or chunk.after == after
        return chunk.index, entries_of(chunk)

    def outcome(self, number: int) -> Any:
        """The value of an answer, or the class of its error with what it says of the execution."""
        reply = self.reply(number)
        if isinstance(reply, Failed):
            error = failed_to_error(reply)
            assert isinstance(error, RequestError)
            return type(error), error.executed
        assert isinstance(reply, Result), reply
        return decode_value(reply.value)

    def now(self, number: int) -> Any:
        """The same after everything that can happen at this moment."""
        self.world.settle()
        return self.outcome(number)


def lives(world: World, node: str, session: int) -> bool:
    """The session is there, as far as this replica has applied."""
    return session in world[node].peer().machine.sessions
