"""Events in the words of the golden conversations."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.raftkit.cluster import member
from zraft.core import events as e
from zraft.core.entries import Batch, Kind, Membership, SnapshotMark
from zraft.core.event_text import event_text
from zraft.core.messages import TimeoutNow
from zraft.core.text import peer_text

A, B = member("a"), member("b")
MARK = SnapshotMark(5, 2, 0, 1, Membership((A, B)))
TEXTS: list[tuple[e.Event, str]] = [
    (e.Propose((e.Proposal(3, 1, b"x"), e.Proposal(4, 1, b"x"))), "propose #3 #4"),
    (e.ProposeTime(), "propose time"),
    (e.Read(7), "read #7"),
    (e.ChangeMembership(1, (A, B)), "change to a b"),
    (e.TransferLeadership(1, B), "transfer to b"),
    (e.TransferLeadership(1), "transfer to the best"),
    (e.Bootstrap(Membership((A, B))), "bootstrap a b"),
    (e.Received(TimeoutNow(B, A, 3)), "TimeoutNow from b"),
    (e.Saved(4), "saved 4"),
    (e.Loaded(B, 2, (Batch(2, 3, 1, 0, 0, Kind.COMMANDS, b"abc"),)), "loaded 2..4"),
    (e.Loaded(B, 2, ()), "loaded 2..nothing"),
    (e.NodeLost("b:1"), "node b:1 lost"),
    (e.NodeBack("b:1"), "node b:1 back"),
    (e.NodeSilent("b:1", 5), "node b:1 silent"),
    (e.NodeRestarted("b:1"), "node b:1 restarted"),
    (e.Rouse(), "rouse"),
    (e.TimePassed(), "timeout"),
    (e.SnapshotTaken(MARK, 6), "snapshot 5"),
    (e.SnapshotRestored(MARK), "restored snapshot 5"),
    (e.SnapshotFailed(MARK), "failed to fetch snapshot 5"),
]


@pytest.mark.parametrize(("event", "text"), TEXTS)
def test_an_event_is_named_as_in_the_goldens(event: e.Event, text: str) -> None:
    """By what it is and what tells it from others."""
    assert event_text(event) == text


def test_no_event_is_without_a_name() -> None:
    """The list above is whole, and replicas of one name can be told apart."""
    assert {type(event) for event, _ in TEXTS} == set(get_args(e.Event))
    assert event_text(e.Received(TimeoutNow(B, A, 3)), peer_text) == "TimeoutNow from b@b:1"
