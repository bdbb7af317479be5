"""Bugs of replicas whose disk lost part of the log (BM-095, BM-096)."""

from __future__ import annotations

from tests.sim.mutants.mutation import Change, Mutant

_CORE = "zraft.core"

RECOVERY = (
    Mutant(
        "BM-095 votes",
        "a replica votes and campaigns with a log that it knows to be shortened",
        (
            Change(f"{_CORE}.election:on_request_vote", "and not replica.abstains_below", ""),
            Change(f"{_CORE}.election:on_pre_vote", "and not replica.abstains_below", ""),
            Change(f"{_CORE}.election:may_campaign", "if replica.abstains_below:", "if False:"),
        ),
        "recovery",
        median=2,
        near=2,
    ),
    Mutant(
        "BM-096",
        "a replica that lost part of its log votes again as soon as it has stored anything new",
        (Change(f"{_CORE}.abstention:look", "term >= replica.abstains_below", "replica.leader_seen_ms is not None"),),
        "recovery",
        median=1,
    ),
    Mutant(
        "BM-096 term",
        "it votes again with an entry of the term in which it had promised what it lost",
        (Change("zraft.storage.recovery:_given_up", "row.hard_state.term + 1", "max(row.hard_state.term, 1)"),),
        "recovery",
        median=1,
    ),
)
