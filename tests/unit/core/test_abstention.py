"""A replica that lost part of its log: it gives no vote away, follows, and votes again when nothing can be missing."""

from __future__ import annotations

import pytest

from tests.raftkit.cluster import log_of
from tests.unit.core.samples import A, B, C
from zraft.core.entries import Batch, HardState, Kind, Membership, SnapshotMark
from zraft.core.events import Received, Saved, SnapshotRestored, TimePassed
from zraft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from zraft.core.output import Output, RoleName
from zraft.core.raft import Raft
from zraft.core.recovered import RaftSettings, Recovered

ABC = Membership((A, B, C))
LOST_IN = 5
"""The term that it adopted when it lost something."""


def abstaining(terms: tuple[int, ...] = (1, 2, 2)) -> Raft:
    batches = log_of(list(terms), ABC)
    recovered = Recovered(
        HardState(LOST_IN, None, LOST_IN),
        lasts=[batch.last for batch in batches],
        terms=[batch.term for batch in batches],
        tail=batches,
        memberships=[(1, ABC)],
    )
    raft = Raft(A, RaftSettings(), recovered, seed=1, now=0)
    raft.start()
    return raft


def hear(raft: Raft, message: Message, now: int = 10) -> Output:
    return raft.step(now, Received(message))


def sent(output: Output) -> list[Message]:
    return [*output.send_now, *output.send_after_save]


def append(raft: Raft, term: int, after: tuple[int, int], *, leader_term: int = LOST_IN) -> Output:
    """One entry of `term` behind (index, term) `after`, from the leader of `leader_term`."""
    batch = Batch(after[0] + 1, 1, term, 0, 0, Kind.NOOP, b"")
    return hear(raft, AppendEntries(B, A, leader_term, *after, 0, 0, [batch]))


@pytest.mark.parametrize("last", [(3, 2), (100, 5)])
def test_it_grants_nobody_a_vote(last: tuple[int, int]) -> None:
    """However good the candidate's log is; and nothing of the refusal is a promise (BM-095)."""
    raft = abstaining()
    assert sent(hear(raft, PreVote(B, A, 6, *last))) == [PreVoteReply(A, B, 5, False)]
    assert sent(hear(raft, RequestVote(B, A, 6, *last))) == [RequestVoteReply(A, B, 6, False)]
    assert raft.voted_for is None


def test_it_never_campaigns() -> None:
    """Neither by itself nor because a leader asks it to."""
    raft = abstaining()
    for now in range(1000, 20_000, 1000):
        assert sent(raft.step(now, TimePassed())) == []
    hear(raft, Heartbeat(B, A, 6, 1, 0, 0), 20_000)
    assert sent(hear(raft, TimeoutNow(B, A, 6), 20_001)) == []
    assert (raft.role_name, raft.current_term) == (RoleName.LOADING, 6)


def test_a_leader_of_an_earlier_term_hears_of_the_new_one() -> None:
    """It takes what was acknowledged to it for stored, and has to step down."""
    assert sent(hear(abstaining(), Heartbeat(B, A, 4, 9, 3, 0))) == [HeartbeatReply(A, B, 5, 0)]


def test_it_follows_and_says_truthfully_what_it_has() -> None:
    """Entries of earlier terms do not end it: what it lost may be behind them."""
    raft = abstaining()
    output = append(raft, 2, (3, 2))
    assert sent(output) == [AppendReply(A, B, 5, True, 4)]
    raft.step(11, Saved(output.save))
    assert raft.abstains_below == LOST_IN


def test_an_entry_of_the_new_term_ends_it_when_it_is_durable() -> None:
    """Not when it came; the next save says so on disk, and then it votes like anybody."""
    raft = abstaining()
    output = append(raft, 5, (3, 2))
    assert raft.abstains_below == LOST_IN
    output = raft.step(11, Saved(output.save))
    assert output.hard_state == HardState(5, None, 0)
    assert output.role_change is not None
    assert output.role_change.role is RoleName.FOLLOWER
    assert any("has again what it lost" in fact for fact in output.facts)
    granted = hear(raft, RequestVote(C, A, 6, 9, 6, transfer=True), 12)
    assert granted.send_after_save == [RequestVoteReply(A, C, 6, True)]
    assert granted.hard_state == HardState(6, C)


def test_a_snapshot_of_the_new_term_ends_it_too() -> None:
    """Of an earlier one it does not."""
    for term, left in ((4, LOST_IN), (5, 0)):
        raft = abstaining((1,))
        output = raft.step(10, SnapshotRestored(SnapshotMark(9, term, 0, 1, ABC)))
        raft.step(11, Saved(output.save))
        assert raft.abstains_below == left


def test_a_restart_ends_it_where_the_log_says_so() -> None:
    """The entry was durable, and the end of it was not yet."""
    raft = abstaining((1, 2, 5))
    assert (raft.abstains_below, raft.role_name) == (0, RoleName.FOLLOWER)
    assert abstaining((1, 2, 4)).abstains_below == LOST_IN


def test_one_that_knows_no_configuration_any_more_is_not_blank() -> None:
    """Nobody may found a group with it."""
    raft = Raft(A, RaftSettings(), Recovered(HardState(5, None, 5)), seed=1, now=0)
    assert raft.role_name is RoleName.LOADING
    assert sent(raft.step(5000, TimePassed())) == []
