"""Whatever is asked wrongly of a session has its own error, changes nothing that anybody could see, and leaks nothing.

Each row plays against a group of three that holds data, a session with kept replies and an open watch. Two kinds: what
is refused before it has a turn leaves all of the state as it was, the sessions included; what the backend refuses has
had its turn, so its reply is kept, and only what it would have changed is as before.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, TypeAlias

import msgspec
import pytest

from tests.unit.peer.session_world import TIMEOUT_MS, Owner, lives
from tests.unit.peer.world import ELECTION_MS, World, host_settings
from zraft import limits
from zraft.client.client import Client
from zraft.client.light_session import LightSession
from zraft.errors import Overloaded, ProtocolError, Rejected, RequestError, SessionExpired, TooLarge, WatchNotSupported
from zraft.limits import SESSION_UNANSWERED, TABLE_TXN_ITEMS, WATCHES_PER_CLIENT
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.frames import array_of
from zraft.wire.requests import decode_requests, encode_item
from zraft.wire.session_requests import Ping, SessionQuery, SessionWrite, StartSession, StopSession
from zraft.wire.values import encode_value

TOKEN = b"t" * 16
HEARD_MS = 150
"""After so long every follower has heard of what is committed."""
BIG = 2**63 - 1
RAW = msgspec.Raw(encode_value(["put", "k", 1]))

Ask: TypeAlias = Callable[[Owner, str], int]
Expected: TypeAlias = tuple[type[RequestError], str, str]


class Scene:
    """Data, an owner with three writes of which the first is acknowledged, its watch, and a session that has ended."""

    def __init__(self) -> None:
        self.world = world = World(settings=host_settings(max_command_bytes=64 * 1024))
        self.node = node = world.found(backend="table")
        self.owner, self.gone, self.thief = Owner(world), Owner(world, b"g" * 16), Owner(world, b"x" * 16)
        self.thief.session = self.owner.start(node)
        self.gone.start(node)
        assert self.gone.now(self.gone.stop(node)) is None
        for command in (["put", "k", 1], ["increment", "n", BIG], ["put", "t", 1]):
            self.owner.now(self.owner.write(node, command, acknowledged=min(self.owner.sequence, 1), temporary=True))
        assert self.owner.sequence == 3
        self.owner.now(self.owner.query(node, ["get", "k"], watch=1000))
        self.world.advance(HEARD_MS)

    @property
    def backends(self) -> list[int | None]:
        """Of every replica: a number over its data."""
        return [node.peer().machine.backend.digest() for node in self.world.nodes.values()]

    @property
    def states(self) -> list[int | None]:
        """The same with the sessions and the replies that are kept."""
        return [node.peer().machine.digest() for node in self.world.nodes.values()]

    @property
    def waiting(self) -> tuple[Any, ...]:
        """What the leader holds for somebody."""
        peer = self.world[self.node].peer()
        keeper = peer.keeper
        return peer.desk.is_empty, keeper.watches.count, len(keeper._held), len(keeper._endings), len(keeper._deadlines)

    def play(self, who: Owner, ask: Ask) -> Expected:
        """The error that comes of it, what it says of the execution, and its code or reason."""
        number = ask(who, self.node)
        self.world.advance(HEARD_MS)
        reply = who.reply(number)
        assert isinstance(reply, Failed), reply
        error = failed_to_error(reply)
        assert isinstance(error, RequestError)
        detail = error.code if isinstance(error, Rejected) else error.reason if isinstance(error, Overloaded) else ""
        return type(error), error.executed, detail


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Shared: every row leaves it as it was."""
    return Scene()


def write(sequence: int, acknowledged: int = 1, command: Any = ("put", "k", 2)) -> Ask:
    """The owner's write under a sequence."""
    return lambda owner, node: owner.write(node, list(command), sequence, acknowledged)


def too_long() -> list[Any]:
    """A transaction of one action more than it may have."""
    return ["txn", [], [["get", n] for n in range(TABLE_TXN_ITEMS + 1)], []]


GONE: Expected = (SessionExpired, "no", "")
NO_WATCH: Expected = (WatchNotSupported, "no", "")

REFUSED: dict[str, tuple[str, Ask, Expected]] = {
    "ping, wrong token": ("thief", lambda o, node: o.ping(node), GONE),
    "write, wrong token": ("thief", write(4), GONE),
    "query, wrong token": ("thief", lambda o, node: o.query(node, ["get", "k"], 2000), GONE),
    "stop, wrong token": ("thief", lambda o, node: o.stop(node), GONE),
    "resume, wrong token": ("thief", lambda o, node: o.resume(node), GONE),
    "ping, ended session": ("gone", lambda o, node: o.ping(node), GONE),
    "write, ended session": ("gone", write(1, 0), GONE),
    "temporary, ended session": ("gone", lambda o, node: o.write(node, ["put", "k", 2], 1, temporary=True), GONE),
    "query, ended session": ("gone", lambda o, node: o.query(node, ["get", "k"], 2000), GONE),
    "stop, ended session": ("gone", lambda o, node: o.stop(node), GONE),
    "resume, ended session": ("gone", lambda o, node: o.resume(node), GONE),
    "sequence that is acknowledged": ("owner", write(1, 0), (RequestError, "maybe", "")),
    "acknowledgement of itself": ("owner", write(4, 4), (RequestError, "no", "")),
    "acknowledgement of what is to come": ("owner", write(4, 9), (RequestError, "no", "")),
    "sequence with a gap before it": ("owner", write(5), (Overloaded, "no", "order")),
    "1025 unanswered": ("owner", write(SESSION_UNANSWERED + 2), (Overloaded, "no", "unanswered")),
    "command that is too large": ("owner", write(4, 1, ["put", "k", "x" * 70_000]), (TooLarge, "no", "")),
    "watch on a count": ("owner", lambda o, node: o.query(node, ["count", None, None], 2000), NO_WATCH),
    "watch on a range": ("owner", lambda o, node: o.query(node, ["range", None, None], 2000), NO_WATCH),
    "query that is none": ("owner", lambda o, node: o.query(node, ["got", "k"], 2000), (Rejected, "no", "bad_query")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_before_its_turn_leaves_everything_as_it_was(scene: Scene, name: str) -> None:
    """Data, sessions and kept replies on every replica, and what waits at the leader."""
    who, ask, expected = REFUSED[name]
    states, waiting = scene.states, scene.waiting
    assert scene.play({"owner": scene.owner, "gone": scene.gone, "thief": scene.thief}[who], ask) == expected
    assert scene.states == states
    assert scene.waiting == waiting
    assert scene.owner.now(scene.owner.ping(scene.node)) is None


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["put", "k", 2, 0], "bad_ttl"),
        (["put", "k", 2, -1], "bad_ttl"),
        (["put", "k", 2, -0.5], "bad_ttl"),
        (["put", "k", 2, float("nan")], "bad_ttl"),
        (["put", "k", 2, float("inf")], "bad_ttl"),
        (["put", "k", 2, 1e300], "bad_ttl"),
        (["put", "k", 2, "soon"], "bad_ttl"),
        (["put", "k", 2, [1]], "bad_ttl"),
        (["put", "k", 2, True], "bad_ttl"),
        (["increment", "n"], "overflow"),
        (["increment", "n", BIG], "overflow"),
        (["increment", "k", 2**64 - 1], "overflow"),
        (["increment", "n", "1"], "bad_amount"),
        (["increment", "n", float("nan")], "bad_amount"),
        (too_long(), "too_many"),
        (["txn", [], [["put", "k", 2], ["increment", "n"]], []], "overflow"),
        (["txn", [["k", "colour", "==", 1]], [["put", "k", 2]], []], "bad_compare"),
        (["put", None, 2], "bad_key"),
        (["put", float("nan"), 2], "bad_key"),
        (["delete", {}], "bad_key"),
        (["put", "k"], "bad_command"),
        (["zap", "k"], "bad_command"),
        ("put", "bad_command"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("temporary", [False, True])
def test_what_the_backend_refuses_changes_no_data(scene: Scene, command: Any, code: str, temporary: bool) -> None:
    """It has had its turn: sent again, it is answered the same, and the data is what it was, on every replica."""
    backends, waiting, owner = scene.backends, scene.waiting, scene.owner
    owner.sequence += 1
    sequence = owner.sequence
    for _ in range(2):
        found = scene.play(owner, lambda o, node: o.write(node, command, sequence, sequence - 1, temporary=temporary))
        assert found == (Rejected, "no", code)
    assert scene.backends == backends
    assert scene.waiting == waiting
    assert len(set(scene.states)) == 1


@pytest.mark.parametrize(
    "request_",
    [
        SessionWrite(1, "p", 0, TOKEN, 1, 0, RAW, True),
        SessionWrite(1, "p", -1, TOKEN, 1, 0, RAW),
        SessionWrite(1, "p", 17, TOKEN, 0, 0, RAW),
        SessionWrite(1, "p", 17, TOKEN, 1, -1, RAW),
        SessionWrite(1, "p", 17, b"short", 1, 0, RAW),
        SessionQuery(1, "p", 0, TOKEN, RAW, 1),
        SessionQuery(1, "p", 17, TOKEN, RAW, -1),
        Ping(1, "p", 0, TOKEN),
        StopSession(1, "p", 0, TOKEN),
        StartSession(1, "p", b"", 1000),
        StartSession(1, "p", TOKEN, 0),
        StartSession(1, "p", TOKEN, -5),
    ],
    ids=lambda request: type(request).__name__,  # the text of a Raw is where it lies in memory
)
def test_no_request_without_a_session_reaches_a_replica(request_: Any) -> None:
    """Temporary data needs a session: bytes that say otherwise end their connection at the door."""
    with pytest.raises(ProtocolError):
        decode_requests(array_of([encode_item(request_)]))


def test_a_light_session_has_no_word_for_temporary_data() -> None:
    """Python says so before anything is sent."""
    for function in (LightSession.write, LightSession.write_entry, LightSession.write_many, Client.write):
        assert "temporary" not in signature(function).parameters


def test_a_session_more_than_there_may_be_is_refused_everywhere() -> None:
    """By the log: on every replica, and one that ends makes room."""
    world = World()
    node, first, second = world.found(backend="table"), Owner(world), Owner(world, b"2" * 16)
    for each in world.nodes.values():
        each.peer().machine.sessions.most = 1
    first.start(node)
    world.advance(HEARD_MS)
    states = [each.peer().machine.digest() for each in world.nodes.values()]
    number = world.ask(node, lambda n: StartSession(n, "p", second.token, 1000), second)
    assert second.now(number) == (Overloaded, "no")
    world.advance(HEARD_MS)
    assert [each.peer().machine.digest() for each in world.nodes.values()] == states
    assert first.now(first.stop(node)) is None
    assert second.start(node) > first.session


def test_a_watch_more_than_a_client_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are open stay, one that fires makes room, and another client is not concerned."""
    assert WATCHES_PER_CLIENT < limits.WATCHES
    monkeypatch.setattr(limits, "WATCHES_PER_CLIENT", 3)
    scene = Scene()
    owner, watches = scene.owner, scene.world[scene.node].peer().keeper.watches
    for number in (1001, 1002):
        assert owner.now(owner.query(scene.node, ["get", "k"], number)) is not None
    states = scene.states
    assert scene.play(owner, lambda o, node: o.query(node, ["get", "k"], 1003)) == (Overloaded, "no", "watches")
    assert (watches.count, scene.states) == (3, states)
    other = Owner(scene.world, b"o" * 16)
    other.start(scene.node)
    other.now(other.query(scene.node, ["get", "k"], 1))
    assert watches.count == 4
    owner.now(owner.write(scene.node, ["put", "k", 2], 4, 3))
    assert watches.count == 0
    owner.now(owner.query(scene.node, ["get", "k"], 1003))
    assert watches.count == 1


def test_replies_that_nobody_acknowledges_are_bounded_and_acknowledging_goes_on() -> None:
    """1024 of them are kept; one more write is refused and leaves nothing, until the client says what it has."""
    scene = Scene()
    owner, node = scene.owner, scene.node
    for sequence in range(4, SESSION_UNANSWERED + 2):
        owner.write(node, ["put", "k", sequence], sequence, 1)
    scene.world.advance(HEARD_MS)
    states = scene.states
    assert scene.play(owner, write(SESSION_UNANSWERED + 2)) == (Overloaded, "no", "unanswered")
    assert scene.states == states
    assert owner.now(owner.write(node, ["put", "k", 0], SESSION_UNANSWERED + 2, 2)) == "ok"


def test_misuse_keeps_no_silent_client_alive(scene: Scene) -> None:
    """Whoever does not have the token moves no deadline."""
    for _ in range(TIMEOUT_MS // ELECTION_MS + 2):
        scene.thief.ping(scene.node)
        scene.thief.write(scene.node, ["put", "k", 2], 4, 1)
        scene.world.advance(ELECTION_MS)
    assert not lives(scene.world, scene.node, scene.owner.session)
