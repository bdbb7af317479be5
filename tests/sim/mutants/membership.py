"""Bugs of membership change that are put back."""

from __future__ import annotations

from tests.sim.mutants.mutation import Change, Mutant

_CORE = "zraft.core"

MEMBERSHIP = (
    Mutant(
        "BM-031",
        "a leader changes the configuration before an entry of its own term is committed",
        (Change(f"{_CORE}.membership:change", " or replica.commit_index < role.term_start", ""),),
        "hasty",
        median=4,
        near=4,
    ),
    Mutant(
        "BM-032",
        "a candidate counts by the last configuration that it knows to be committed",
        (
            Change(
                f"{_CORE}.election:_count_votes",
                "quorum.vote_result(replica.membership, role.votes)",
                "quorum.vote_result(replica.memberships.as_of(replica.commit_index)[1] or replica.membership,"
                " role.votes)",
            ),
            Change(
                f"{_CORE}.election:_count_pre_votes",
                "quorum.vote_result(replica.membership, role.votes)",
                "quorum.vote_result(replica.memberships.as_of(replica.commit_index)[1] or replica.membership,"
                " role.votes)",
            ),
        ),
        "membership",
        median=4,
    ),
    Mutant(
        "BM-033",
        "the final configuration is appended before the joint one is committed",
        (
            Change(
                f"{_CORE}.membership:drive",
                "replica.memberships.current_index > replica.commit_index or replica.commit_index < role.term_start",
                "replica.commit_index < role.term_start",
            ),
        ),
        "membership",
        median=1,
    ),
    Mutant(
        "BM-042",
        "a removed server is not told, campaigns without asking first, and is heard by those who have a leader",
        (
            Change(f"{_CORE}.departure:_tell", "replica.send_now(", "str("),
            Change(
                f"{_CORE}.election:on_election_timeout",
                "start_pre_vote(replica)",
                "start_election(replica, transfer=False)",
            ),
            Change(f"{_CORE}.terms:_admit_newer", " and election.is_led(replica)", " and False"),
        ),
        "membership",
        median=2,
    ),
    Mutant(
        "BM-043",
        "a replica that is made again is taken for the one that lost its data",
        (Change("zraft.peer.admin:Admin._conceive", "host.chance.bits() >> 1 or 1", "1 + sum(host.node.encode())"),),
        "rot",
        median=1,
    ),
)
