"""The rotation of a light session: whom it asks next, and what an error says about a peer and about the request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.client.rotation import HOPS, SHORTEST_S, Attempts, Blame, Rotation, blame, timed_out
from zraft.errors import (
    AllPeersFailed,
    BackendError,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    Rejected,
    RequestError,
    RequestTimeout,
    TooLarge,
)
from zraft.types import PeerId

A, B, C, D = (PeerId("t", f"127.0.0.1:{port}") for port in (7101, 7102, 7103, 7104))
FAIL, ELECTION = 1.0, 0.5


def ring(*peers: PeerId, leader: PeerId | None = None) -> Rotation:
    return Rotation(peers or (A, B, C), fail_s=FAIL, election_s=ELECTION, leader=leader)


def test_the_first_of_the_list_is_asked_first() -> None:
    """Nobody has said yet who leads; a peer that is listed twice is one peer."""
    assert ring().choose(0.0) == A
    assert ring(A, B, A).peers == [A, B]


def test_a_known_leader_is_asked_first_and_the_list_keeps_its_order() -> None:
    """As the configuration names it; one that is not in the list comes after the others."""
    assert ring(leader=C).choose(0.0) == C
    assert ring(leader=C).peers == [A, B, C]
    assert ring(A, B, leader=D).peers == [A, B, D]


def test_rotation_goes_from_the_leader_on_and_wraps() -> None:
    """List order from the current leader."""
    rotation = ring(leader=B)
    rotation.failed(B, "gone", 0.0)
    assert rotation.leader == C
    rotation.failed(C, "gone", 0.1)
    assert rotation.leader == A
    assert rotation.choose(0.2) == A


def test_a_failed_peer_is_not_asked_for_its_time() -> None:
    """Nor longer: it is asked again when its turn comes."""
    rotation = ring(A, B)
    rotation.failed(A, "gone", 0.0)
    rotation.failed(B, "gone", 0.5)
    assert rotation.choose(0.9) is None
    assert rotation.choose(FAIL) == A


def test_a_peer_that_did_not_lead_is_not_asked_for_its_time() -> None:
    """A shorter one: it may win an election at any moment."""
    rotation = ring(A, B)
    rotation.not_leader(A, None, 0.0)
    assert rotation.choose(0.0) == B
    rotation.not_leader(B, None, 0.1)
    assert rotation.choose(0.4) is None
    assert rotation.free_at() == ELECTION
    assert rotation.choose(ELECTION) == A


def test_a_named_leader_is_asked_at_once() -> None:
    """Also where it has said a moment ago that it does not lead: that was before."""
    rotation = ring()
    rotation.not_leader(A, C, 0.0)
    assert rotation.choose(0.0) == C
    rotation.not_leader(C, A, 0.1)
    assert rotation.choose(0.1) == A


def test_a_named_leader_that_failed_a_moment_ago_is_not_believed() -> None:
    """Followers name a dead leader until they have elected another."""
    rotation = ring()
    rotation.failed(A, "gone", 0.0)
    rotation.not_leader(B, A, 0.1)
    assert rotation.choose(0.1) == C


def test_two_that_name_each_other_cost_a_wait_and_not_a_loop() -> None:
    """They are believed a few times."""
    rotation = ring(A, B)
    asked = []
    while (peer := rotation.choose(0.0)) is not None:
        asked.append(peer)
        rotation.not_leader(peer, B if peer == A else A, 0.0)
    assert len(asked) <= HOPS + 2
    assert rotation.choose(ELECTION) is not None


def test_an_answer_about_a_peer_that_is_not_asked_any_more_moves_nothing() -> None:
    """Many requests were under way when the first of them was refused."""
    rotation = ring()
    rotation.not_leader(A, C, 0.0)
    rotation.not_leader(A, B, 0.0)
    assert rotation.leader == C


def test_a_stranger_that_is_named_joins_the_ring() -> None:
    """The group has changed since the list was made."""
    rotation = ring(A, B)
    rotation.not_leader(A, D, 0.0)
    assert rotation.leader == D
    assert rotation.peers == [A, B, D]


def test_strangers_do_not_fill_the_ring_without_end() -> None:
    """However many are named."""
    rotation = ring(A)
    for port in range(10_000, 10_500):
        rotation.not_leader(rotation.leader, PeerId("t", f"h:{port}"), 0.0)
    assert rotation.peers[0] == A
    assert len(rotation.peers) < 100


def test_all_are_lost_only_while_every_peer_has_failed() -> None:
    """One that answers, and does not lead, is a reason to wait."""
    rotation = ring(A, B)
    rotation.failed(A, "gone", 0.0)
    rotation.not_leader(B, None, 0.0)
    assert not rotation.is_lost(0.1)
    rotation.failed(B, "gone", 0.5)
    assert rotation.is_lost(0.9)
    assert not rotation.is_lost(FAIL)


def test_rests_of_no_length_are_no_busy_loop() -> None:
    """Whatever the user has set."""
    rotation = Rotation([A], fail_s=0.0, election_s=0.0, leader=None)
    rotation.failed(A, "gone", 0.0)
    assert rotation.choose(0.0) is None
    assert rotation.choose(SHORTEST_S) == A


def test_the_text_of_a_timeout_says_who_is_missing_and_why() -> None:
    """Or that they are there, and none leads; or that nobody has said anything."""
    rotation = ring()
    assert str(timed_out(rotation, "5 s", 0.1)) == f"no leader: no answer yet from {A}, {B}, {C} (after 5 s)"
    rotation.not_leader(C, None, 0.0)
    assert "3 of 3 voters answer, none of them leads" in str(timed_out(rotation, "5 s", 0.1))
    rotation.failed(A, "nothing listens there", 0.0)
    error = timed_out(rotation, "5 s", 0.1)
    assert str(error) == f"no leader: 2 of 3 voters answer, missing {A} (nothing listens there) (after 5 s)"
    assert error.executed == "no"


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (PeerUnavailable("no peer"), Blame.ABSENT),
        (NotLeader(leader=B), Blame.FOLLOWER),
        (OutcomeUnknown("leadership was lost"), Blame.FOLLOWER),
        (Overloaded(reason="transferring"), Blame.BUSY),
        (Overloaded(reason="queue"), Blame.NOBODY),
        (TooLarge("too large"), Blame.NOBODY),
        (Rejected("no"), Blame.NOBODY),
        (BackendError("KeyError"), Blame.NOBODY),
        (AllPeersFailed("all"), Blame.NOBODY),
    ],
)
def test_an_error_is_blamed_on_the_peer_only_where_another_could_do_better(error: RequestError, whose: Blame) -> None:
    """What the backend or the limits say, every peer would say."""
    assert blame(error) is whose


@pytest.mark.parametrize(
    ("is_read", "is_repeatable", "executed", "may"),
    [
        (False, False, "no", True),
        (False, False, "maybe", False),
        (False, False, "yes", False),
        (False, True, "maybe", True),
        (False, True, "yes", False),
        (True, False, "maybe", True),
    ],
)
def test_a_request_is_repeated_only_while_no_attempt_may_have_run(
    is_read: bool, is_repeatable: bool, executed: str, may: bool
) -> None:
    """Except a read, and a write whose author allows it."""
    error = OutcomeUnknown(executed=executed)  # type: ignore[arg-type]  # one of the three
    assert Attempts(is_read=is_read, is_repeatable=is_repeatable).may_repeat(error) is may


def test_the_last_error_is_true_to_every_attempt() -> None:
    """A write that may have run before is not "no" because nobody could be asked afterwards."""
    attempts = Attempts(is_read=False, is_repeatable=True)
    assert attempts.final(AllPeersFailed()).executed == "no"
    attempts.may_repeat(OutcomeUnknown())
    assert attempts.final(AllPeersFailed()).executed == "maybe"
    assert attempts.final(BackendError("KeyError")).executed == "yes"


def test_a_read_has_never_run() -> None:
    """It has no effect, whatever became of it."""
    attempts = Attempts(is_read=True, is_repeatable=False)
    attempts.may_repeat(OutcomeUnknown())
    assert attempts.final(RequestTimeout()).executed == "no"


STEPS = st.tuples(
    st.sampled_from(["failed", "not_leader"]),
    st.sampled_from([A, B, C]),
    st.sampled_from([None, A, B, C]),
    st.integers(0, 4),
)


@given(st.lists(STEPS, max_size=40))
def test_whoever_is_chosen_has_rested(steps: list[tuple[str, PeerId, PeerId | None, int]]) -> None:
    """Against the naive table of what was reported; a hint may shorten a rest, never that of a peer that failed."""
    rotation, now = ring(), 0.0
    failed: dict[PeerId, float] = {}
    for what, peer, named, quarters in steps:
        now += quarters * 0.25
        if what == "failed":
            rotation.failed(peer, "gone", now)
            failed[peer] = now + FAIL
        else:
            rotation.not_leader(peer, named, now)
        chosen = rotation.choose(now)
        assert chosen is None or failed.get(chosen, 0.0) <= now
        assert chosen in (None, rotation.leader)
        assert rotation.is_lost(now) == all(failed.get(one, now) > now for one in (A, B, C))
        if chosen is None:
            assert rotation.free_at() > now
            assert rotation.choose(rotation.free_at()) is not None
