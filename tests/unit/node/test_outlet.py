"""What leaves a node: in one write for each connection, and nothing that cannot be sent takes the node with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from zraft.core.messages import AppendEntries, AppendReply, Heartbeat
from zraft.core.output import RoleChange, RoleName
from zraft.errors import TooLarge
from zraft.node.neighbours import UNUSED_MS, Neighbours
from zraft.node.outlet import Outlet
from zraft.peer.duties import Duties, Note, PeerChange
from zraft.transport.dialer import Dialer
from zraft.types import GroupId, Member, PeerId
from zraft.wire.failures import Failed, FailureCode
from zraft.wire.peering import encode_message
from zraft.wire.requests import Reply, Result

GROUP = GroupId(b"g" * 16)
ME, OTHER = Member(PeerId("p", "n1:1"), 1), Member(PeerId("p", "n2:1"), 2)


class Connection:
    """Stands for a Link."""

    def __init__(self, *, takes: bool = True, error: Exception | None = None) -> None:
        self.takes, self.error = takes, error
        self.is_open, self.remote = True, "somebody"
        self.sent: list[tuple[bytes, bool]] = []
        self.flushes = 0
        self.aborted = ""

    def queue(self, item: bytes, *, urgent: bool = False) -> bool:
        if self.error is not None:
            raise self.error
        if self.takes:
            self.sent.append((item, urgent))
        return self.takes

    def flush(self) -> None:
        self.flushes += 1

    def abort(self, why: str) -> None:
        self.aborted, self.is_open = why, False


class Dialing:
    """Stands for a Dialer."""

    def __init__(self, node: str, *, error: Exception | None = None) -> None:
        self.node = node
        self.link: Connection | None = Connection(error=error)
        self.waiting: list[tuple[bytes, bool, bool]] = []
        self.is_started = self.is_closed = False
        self.nudges = 0

    def start(self) -> None:
        self.is_started = True

    def send(self, item: bytes, *, urgent: bool, may_wait: bool) -> bool:
        self.waiting.append((item, urgent, may_wait))
        return False

    def nudge(self) -> None:
        self.nudges += 1

    async def aclose(self) -> None:
        self.is_closed = True


class Scene:
    """An outlet, with the dialers that it made."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.dialed: dict[str, Dialing] = {}
        self.error = error
        self.neighbours = Neighbours(self._make)
        self.outlet = Outlet(self.neighbours)

    def _make(self, node: str) -> Dialer:
        self.dialed[node] = Dialing(node, error=self.error)
        return cast(Dialer, self.dialed[node])

    def carry_out(self, duties: Duties) -> bool:
        return self.outlet.carry_out(duties, "n1:1")


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


APPEND = AppendEntries(ME, OTHER, 1, 0, 0, 0, 0, [])
HEARTBEAT = Heartbeat(ME, OTHER, 1, 1, 0, 0)


def test_messages_to_one_node_leave_together_and_bulk_gives_way() -> None:
    """One flush for the node; heartbeats overtake what is bulk."""
    scene = Scene()
    assert scene.carry_out(Duties(messages=[(GROUP, APPEND), (GROUP, HEARTBEAT)]))
    dialing = scene.dialed["n2:1"]
    assert dialing.is_started
    assert dialing.link is not None
    assert [urgent for _, urgent in dialing.link.sent] == [False, True]
    assert dialing.link.flushes == 1


def test_a_message_that_fits_no_frame_is_dropped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """Settings were lowered under a log with larger commands: the node lives, and says what to look at."""
    scene = Scene(error=TooLarge("9 MiB"))
    scene.carry_out(Duties(messages=[(GROUP, APPEND)]))
    assert "max_command_size" in caplog.text


def test_messages_without_a_connection_are_lost_and_that_is_all() -> None:
    """Raft tolerates loss; a turn that reached nobody has sent nothing."""
    scene = Scene()
    scene.neighbours.dial("n2:1", 0)
    scene.dialed["n2:1"].link = None
    assert not scene.carry_out(Duties(messages=[(GROUP, HEARTBEAT)]))
    assert scene.dialed["n2:1"].link is None


def test_what_is_not_said_again_may_wait_for_the_connection() -> None:
    """An answer to a node that is dialed for the first time costs it a timeout; a leader repeats itself."""
    scene = Scene()
    reply = AppendReply(ME, OTHER, 1, accepted=True, index=1)
    scene.neighbours.dial("n2:1", 0)
    scene.dialed["n2:1"].link = None
    assert not scene.carry_out(Duties(messages=[(GROUP, APPEND), (GROUP, HEARTBEAT), (GROUP, reply)]))
    assert scene.dialed["n2:1"].waiting == [(encode_message(GROUP, reply), False, True)]


def test_answers_to_one_client_leave_together() -> None:
    """A turn's replies are one write."""
    scene, client = Scene(), Connection()
    scene.carry_out(Duties(replies=[(client, Result(1, 5)), (client, Result(2, 6))]))
    assert (len(client.sent), client.flushes) == (2, 1)


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """Its queue is full; it hears from the end of the connection. One that is gone already is left alone."""
    scene, client, gone = Scene(), Connection(takes=False), Connection(takes=False)
    gone.is_open = False
    scene.carry_out(Duties(replies=[(client, Result(1, 5)), (gone, Result(1, 5))]))
    assert client.aborted == "its replies are not read"
    assert gone.aborted == ""


@pytest.mark.parametrize(
    ("reply", "error"),
    [(Result(1, 5), TooLarge("9 MiB")), (Failed(1, FailureCode.REJECTED, 0, reason="\ud800"), None)],
)
def test_an_answer_that_cannot_be_sent_ends_its_connection_and_nothing_else(
    reply: Reply, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A backend may name its refusals by text that is none: the node serves on."""
    scene, client, other = Scene(), Connection(error=error), Connection()
    scene.carry_out(Duties(replies=[(client, reply), (other, Result(1, 5))]))
    assert client.aborted == "an answer cannot be sent"
    assert other.flushes == 1
    assert "cannot be sent" in caplog.text


def test_the_node_itself_may_ask() -> None:
    """A future is answered once, also if nobody waits any more."""

    async def story() -> None:
        scene = Scene()
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        scene.carry_out(Duties(replies=[(future, Result(1, 5))]))
        assert future.result() == Result(1, 5)
        scene.carry_out(Duties(replies=[(future, Result(1, 6))]))
        assert future.result() == Result(1, 5)

    run(story())


def test_notes_and_changes_are_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    """An alarm is a warning; a change names role, term and leader."""
    caplog.set_level(logging.INFO, "zraft")
    changes = [
        PeerChange("p", RoleChange(RoleName.FOLLOWER, 3, OTHER)),
        PeerChange("q", RoleChange(RoleName.CANDIDATE, 4, None)),
    ]
    Scene().carry_out(Duties(notes=[Note("", "starts"), Note("p", "failed: x", is_alarm=True)], changes=changes))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "n1:1: starts"),
        ("WARNING", "p: failed: x"),
        ("INFO", "peer p: follower in term 3, leader p@n2:1"),
        ("INFO", "peer q: candidate in term 4, leader unknown"),
    ]


def test_dialers_that_nobody_needs_are_given_up() -> None:
    """A node that no configuration names and nothing was sent to for a while; the others stay."""

    async def story() -> None:
        scene = Scene()
        for node in ("n2:1", "n3:1", "n4:1"):
            scene.neighbours.dial(node, 0)
        scene.neighbours.dial("n4:1", UNUSED_MS)
        scene.neighbours.keep({"n2:1": None}, UNUSED_MS + 1)
        assert [node in scene.neighbours for node in ("n2:1", "n3:1", "n4:1")] == [True, False, True]
        await scene.neighbours.aclose()
        assert all(dialing.is_closed for dialing in scene.dialed.values())
        scene.neighbours.dial("n3:1", UNUSED_MS + 2)
        assert not scene.dialed["n3:1"].is_closed, "needed again, dialed again"

    run(story())


def test_who_is_heard_from_is_dialed_at_once() -> None:
    """If it is to be dialed at all: strangers cause no connections."""
    scene = Scene()
    scene.neighbours.nudge("n2:1")
    assert "n2:1" not in scene.neighbours
    scene.neighbours.dial("n2:1", 0)
    scene.neighbours.nudge("n2:1")
    assert scene.dialed["n2:1"].nudges == 1
    assert scene.neighbours.is_connected("n2:1")
    scene.dialed["n2:1"].link = None
    assert not scene.neighbours.is_connected("n2:1")
    assert not scene.neighbours.is_connected("n9:1")
