"""The decisions about one request: whom to ask next, when to stop, what to say."""

from __future__ import annotations

import pytest

from zraft.client.routing import FIRST_PAUSE, HOPS, LONGEST_PAUSE, Move, Route, undecided
from zraft.errors import (
    NotLeader,
    NotStable,
    OutcomeUnknown,
    Overloaded,
    PeerUnavailable,
    Rejected,
    RequestError,
    RequestTimeout,
    TooLarge,
)
from zraft.types import PeerId
from zraft.wire.requests import PeerStatus

A, B, C, D = (PeerId(name, "127.0.0.1:1") for name in "abcd")
GROUP = (A, B, C)


def route(*, redirect: bool = True, is_read: bool = False) -> Route:
    """A request that was sent to A."""
    return Route(A, redirect=redirect, is_read=is_read)


def status(peer: PeerId, role: str = "follower", *, term: int = 1, leader: PeerId | None = None) -> PeerStatus:
    """What the peer says of itself."""
    return PeerStatus(peer, role, term=term, leader=leader, conf_index=5, peers=GROUP)


def test_a_named_leader_is_asked_at_once() -> None:
    """NotLeader with a leader costs no search and no pause."""
    on_its_way = route()
    assert on_its_way.refused(NotLeader(leader=B)) is Move.ASK
    assert (on_its_way.peer, on_its_way.pause) == (B, 0.0)


def test_without_redirect_every_error_is_the_answer() -> None:
    """The caller asked this peer, and no other."""
    assert route(redirect=False).refused(NotLeader(leader=B)) is Move.STOP


def test_peers_that_name_each_other_cost_a_search() -> None:
    """Not a loop: a few leaders in a row are believed, then all are asked."""
    on_its_way = route()
    moves = [on_its_way.refused(NotLeader(leader=(B, A)[turn % 2])) for turn in range(HOPS + 1)]
    assert moves == [Move.ASK] * HOPS + [Move.SEARCH]


def test_a_peer_that_names_itself_costs_a_search() -> None:
    """It has just become something else."""
    assert route().refused(NotLeader(leader=A)) is Move.SEARCH


@pytest.mark.parametrize("error", [OutcomeUnknown(), RequestError("x", executed="maybe"), RequestTimeout()])
def test_a_write_that_may_have_run_is_not_sent_again(error: RequestError) -> None:
    """It could run twice (BM-076)."""
    on_its_way = route()
    on_its_way.refused(NotLeader(leader=B))
    assert on_its_way.refused(error) is Move.STOP


def test_a_read_whose_leader_was_lost_is_asked_again() -> None:
    """Reads have no effect, so they may run twice."""
    on_its_way = route(is_read=True)
    on_its_way.refused(NotLeader(leader=B))
    assert on_its_way.refused(OutcomeUnknown()) is Move.SEARCH


def test_a_peer_that_is_not_there_is_the_answer_while_no_other_is_known() -> None:
    """Nobody else could be asked."""
    assert route().refused(PeerUnavailable()) is Move.STOP


def test_a_leader_that_is_not_there_is_searched_for() -> None:
    """The peer that named it may not know yet."""
    on_its_way = route()
    on_its_way.refused(NotLeader(leader=B))
    assert on_its_way.refused(PeerUnavailable()) is Move.SEARCH
    assert on_its_way.known() == (A,)


def test_a_peer_that_is_gone_is_no_answer_once_others_are_known() -> None:
    """The search told of the voters."""
    on_its_way = route()
    on_its_way.refused(NotLeader())
    on_its_way.found([status(A)])
    on_its_way.peer = A
    assert on_its_way.refused(PeerUnavailable()) is Move.SEARCH
    assert on_its_way.known() == GROUP


@pytest.mark.parametrize("error", [Rejected("no"), TooLarge(), Overloaded(reason="queue")])
def test_what_another_peer_would_say_too_is_the_answer(error: RequestError) -> None:
    """A refusal by the backend or by the limits."""
    assert route().refused(error) is Move.STOP


def test_a_transfer_is_waited_for() -> None:
    """The leader hands over: it is asked again after the moment that it named."""
    on_its_way = route()
    assert on_its_way.refused(Overloaded(reason="transferring", retry_after=0.07)) is Move.ASK
    assert (on_its_way.peer, on_its_way.pause) == (A, 0.07)


def test_a_leader_that_is_not_stable_yet_is_asked_again_after_growing_pauses() -> None:
    """Doubled up to a bound."""
    on_its_way, pauses = route(is_read=True), []
    for _ in range(20):
        assert on_its_way.refused(NotStable()) is Move.ASK
        pauses.append(on_its_way.pause)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE


def test_the_first_search_is_not_delayed_and_later_ones_are() -> None:
    """An election takes a while; a thousand clients must not ask all the time."""
    on_its_way = route()
    assert on_its_way.refused(NotLeader()) is Move.SEARCH
    assert on_its_way.pause == 0.0
    assert on_its_way.found([status(A)]) is Move.SEARCH
    assert on_its_way.pause == FIRST_PAUSE


def test_who_says_that_it_leads_in_the_newest_term_is_believed() -> None:
    """An old leader may not know yet that it was replaced."""
    on_its_way = route()
    found = [status(B, "leader", term=2), status(C, "leader", term=3), status(A, term=4, leader=B)]
    assert on_its_way.found(found) is Move.ASK
    assert (on_its_way.peer, on_its_way.pause) == (C, 0.0)


def test_a_leader_that_others_name_is_believed_only_if_it_answers() -> None:
    """One that is named and silent is the one that was lost."""
    on_its_way = route()
    assert on_its_way.found([status(A, leader=C), status(B, leader=C)]) is Move.SEARCH
    assert on_its_way.found([status(A, leader=C), status(C)]) is Move.ASK
    assert on_its_way.peer == C


def test_a_timeout_says_what_is_missing() -> None:
    """The voters that did not answer, by name."""
    on_its_way = route()
    on_its_way.refused(NotLeader())
    on_its_way.found([status(A)])
    error = on_its_way.timed_out(0.5, is_sent=False)
    assert str(error) == f"no leader: 1 of 3 voters answer, missing {B}, {C} (after 0.5 s)"
    assert error.executed == "no"


def test_a_timeout_says_when_all_answer_and_none_leads() -> None:
    """Then nothing is missing but the election."""
    on_its_way = route()
    on_its_way.found([status(peer) for peer in GROUP])
    assert str(on_its_way.timed_out(1, is_sent=False)).startswith("no leader: 3 of 3 voters answer, none of them leads")


def test_a_timeout_says_when_no_other_peer_is_known() -> None:
    """A blank peer has no configuration to tell of."""
    on_its_way = route()
    on_its_way.found([PeerStatus(A, "blank")])
    assert f"{A} knows none" in str(on_its_way.timed_out(1, is_sent=False))


@pytest.mark.parametrize(("is_read", "executed"), [(False, "maybe"), (True, "no")])
def test_a_timeout_of_what_was_sent_is_true_about_it(is_read: bool, executed: str) -> None:
    """A write may still run; a read has no effect."""
    error = route(is_read=is_read).timed_out(2, is_sent=True)
    assert (str(error), error.executed) == (f"{A} did not answer within 2 s", executed)


def test_a_timeout_before_anything_was_sent_names_the_node() -> None:
    """It was not reached."""
    error = route().timed_out(2, is_sent=False)
    assert (str(error), error.executed) == (f"{A.node} was not reached within 2 s", "no")


def test_a_timeout_says_who_is_missing_where_too_many_are() -> None:
    """The peer that was asked lives and cannot decide alone; a minority that is missing explains nothing."""
    alone = undecided([status(A)])
    assert alone == f"1 of 3 voters answer, missing {B}, {C}"
    assert undecided([status(A), status(B)]) == ""
    assert undecided([]) == ""
    error = Route(A, redirect=True, is_read=False).timed_out(1, is_sent=True, why=alone)
    assert str(error) == f"{A} did not answer within 1 s: {alone}"
    assert error.executed == "maybe"
