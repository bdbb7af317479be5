"""One of every event and every message, for tests that try them all."""

from __future__ import annotations

from typing import Final

from tests.raftkit.cluster import log_of, member
from zraft.core import events as e
from zraft.core import messages as m
from zraft.core.entries import Membership, SnapshotMark
from zraft.core.events import Event
from zraft.core.messages import Message

A: Final = member("a")
B: Final = member("b")
C: Final = member("c")
MARK: Final = SnapshotMark(3, 2, 5, 1, Membership((A, B, C)))
BATCHES: Final = log_of([1, 2, 2], Membership((A, B, C)))

EVENT_SAMPLES: Final[tuple[Event, ...]] = (
    e.Propose((e.Proposal(1, 2, b"xy"), e.Proposal(2, 1, b"z")), 7),
    e.ProposeTime(),
    e.Read(1),
    e.ChangeMembership(2, (A, B)),
    e.TransferLeadership(3, B),
    e.Bootstrap(Membership((A, B))),
    e.Saved(1),
    e.Loaded(B, 1, tuple(BATCHES)),
    e.NodeLost("b:1"),
    e.NodeBack("b:1"),
    e.NodeSilent("b:1", 0),
    e.NodeRestarted("b:1"),
    e.Rouse(),
    e.TimePassed(),
    e.SnapshotTaken(SnapshotMark(2, 2, 5, 1, Membership((A, B, C))), 3),
    e.SnapshotRestored(MARK),
    e.SnapshotFailed(MARK),
)

MESSAGE_SAMPLES: Final[tuple[Message, ...]] = (
    m.PreVote(B, A, 3, 9, 2),
    m.PreVoteReply(B, A, 3, True),
    m.RequestVote(B, A, 3, 9, 2),
    m.RequestVoteReply(B, A, 3, True),
    m.AppendEntries(B, A, 3, 2, 2, 2, 50, BATCHES[2:]),
    m.AppendReply(B, A, 3, True, 2),
    m.Heartbeat(B, A, 3, 1, 2, 9),
    m.HeartbeatReply(B, A, 3, 1),
    m.InstallSnapshot(B, A, 3, MARK),
    m.SnapshotReply(B, A, 3, True, 2),
    m.TimeoutNow(B, A, 3),
    m.ReadIndexRequest(B, A, 3, 4),
    m.ReadIndexReply(B, A, 3, 4, 2),
    m.NotMember(B, A, 3, 4, 2),
    m.Quiesce(B, A, 3, 1, 2, 9),
    m.QuiesceReply(B, A, 3, 1, True),
)
