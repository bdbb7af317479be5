"""Majorities, against the slowest and plainest way to count them."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raftkit.cluster import member
from zraft.core.entries import Membership
from zraft.core.quorum import VoteResult, committed_index, has_quorum, majority, vote_result
from zraft.types import Member

NAMES = [member(name) for name in "abcdefg"]

voter_sets = st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True).map(tuple)
memberships = st.builds(Membership, voter_sets, st.one_of(st.just(()), voter_sets))


def _naive_quorum(voters: tuple[Member, ...], agreeing: frozenset[Member]) -> bool:
    return any(set(group) <= agreeing for group in combinations(voters, len(voters) // 2 + 1))


def _naive(membership: Membership, agreeing: frozenset[Member]) -> bool:
    sets = [voters for voters in (membership.voters, membership.outgoing) if voters]
    return all(_naive_quorum(voters, agreeing) for voters in sets)


@given(memberships, st.frozensets(st.sampled_from(NAMES)))
def test_quorum_is_what_the_plain_definition_says(membership: Membership, agreeing: frozenset[Member]) -> None:
    """§4.3: in every set some majority agrees; who is in no set never counts (BM-012)."""
    assert has_quorum(membership, agreeing.__contains__) is _naive(membership, agreeing)


@given(memberships, st.dictionaries(st.sampled_from(NAMES), st.integers(0, 20)))
def test_committed_index_is_the_largest_that_a_quorum_has(membership: Membership, match: dict[Member, int]) -> None:
    """§3.5: the next larger one is not on a quorum."""
    index = committed_index(membership, lambda voter: match.get(voter, 0))
    holders = [frozenset(voter for voter in NAMES if match.get(voter, 0) >= at) for at in (index, index + 1)]
    assert _naive(membership, holders[0])
    assert not _naive(membership, holders[1])


@given(memberships, st.dictionaries(st.sampled_from(NAMES), st.booleans()))
def test_election_is_decided_when_no_further_vote_matters(membership: Membership, votes: dict[Member, bool]) -> None:
    """§3.4: won with the votes there are, lost where all missing ones would not help."""
    yes = frozenset(voter for voter, granted in votes.items() if granted)
    could = frozenset(voter for voter in NAMES if votes.get(voter, True))
    expected = VoteResult.WON if _naive(membership, yes) else VoteResult.PENDING
    if not _naive(membership, could):
        expected = VoteResult.LOST
    assert vote_result(membership, votes) is expected


@pytest.mark.parametrize(("size", "least"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_two_majorities_always_meet(size: int, least: int) -> None:
    """§3.4: that is what makes a majority one."""
    assert majority(size) == least
    assert 2 * least > size
