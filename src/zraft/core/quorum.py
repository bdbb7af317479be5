"""Majorities: sets and numbers, no messages (§3.4, §3.5, §4.3).

In a joint configuration every decision needs a majority of the new voters and one of the old. A server that is in
neither set never counts, whatever it says (BM-012).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum

from zraft.core.entries import Membership
from zraft.types import Index, Member


class VoteResult(Enum):
    """What the votes so far mean."""

    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def majority(size: int) -> int:
    """The least number of `size` servers of which any two such sets overlap."""
    return size // 2 + 1


def agreed_value(voters: Collection[Member], value_of: Callable[[Member], int]) -> int:
    """The largest value that a majority of `voters` has reached. `voters` is not empty."""
    values = sorted([value_of(voter) for voter in voters], reverse=True)
    return values[majority(len(values)) - 1]


def committed_index(membership: Membership, match_of: Callable[[Member], Index]) -> Index:
    """The last index that is stored on a majority, of both sets where the configuration is joint."""
    index = agreed_value(membership.voters, match_of)
    if membership.outgoing:
        index = min(index, agreed_value(membership.outgoing, match_of))
    return index


def has_quorum(membership: Membership, agrees: Callable[[Member], bool]) -> bool:
    """A majority, of both sets where the configuration is joint, agrees."""
    return is_majority(membership.voters, agrees) and (
        not membership.outgoing or is_majority(membership.outgoing, agrees)
    )


def vote_result(membership: Membership, votes: dict[Member, bool]) -> VoteResult:
    """The state of an election in which `votes` were received, each server's once (BM-006)."""
    if has_quorum(membership, lambda member: votes.get(member, False)):
        return VoteResult.WON
    if not has_quorum(membership, lambda member: votes.get(member, True)):
        return VoteResult.LOST
    return VoteResult.PENDING


def is_majority(voters: Collection[Member], is_for: Callable[[Member], bool]) -> bool:
    """A majority of this one set is for it."""
    return sum(1 for voter in voters if is_for(voter)) >= majority(len(voters))
