"""The worst moment at which a run's chaos can end, and the worst nodes that can be left then.

Where the longest log has the smallest term, nobody can be elected before terms have travelled, and only refusals can
carry them (§9.6, BM-109). Such a moment is short and rare, so it is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zraft.core.entries import Membership
from zraft.sim.checks.ghost import GhostNode
from zraft.sim.cluster import Cluster
from zraft.sim.profiles import TICKS_PER_TIMEOUT
from zraft.types import Term

WAIT_TIMEOUTS = 60
"""Election timeouts for which the moment is waited for."""


def find_adverse_core(cluster: Cluster) -> list[str] | None:
    """Goes on until some core quorum knows too little of terms to elect: the nodes outside it. None: there was none."""
    scheduler = cluster.scheduler
    until_ms = scheduler.now_ms + WAIT_TIMEOUTS * cluster.election_ms
    while scheduler.now_ms < until_ms:
        scheduler.run_until(scheduler.now_ms + max(1, cluster.election_ms // (2 * TICKS_PER_TIMEOUT)))
        found = _adverse_core(cluster)
        if found is not None:
            cluster.counts["adverse core"] = 1
            return found
    return None


def _adverse_core(cluster: Cluster) -> list[str] | None:
    ledger = cluster.checks.ledger
    last = ledger.committed.configurations[-1].membership if ledger.committed.configurations else None
    if last is None or not last.is_stable:
        return None
    voters = [ledger.node(voter) for voter in last.voters]
    if any(_last_membership(ghost) != last for ghost in voters):
        return None
    needed = len(voters) // 2 + 1
    for core in _cores(voters, needed):
        if _is_deaf(core, needed):
            names = [ghost.me.peer.node for ghost in core]
            return [name for name in cluster.names if name not in names]
    return None


def _last_membership(ghost: GhostNode) -> Membership | None:
    return ghost.disk.configurations[-1].membership if ghost.disk.configurations else None


def _cores(voters: Sequence[GhostNode], needed: int) -> Iterator[list[GhostNode]]:
    """Every way to choose so many of them."""
    for bits in range(1 << len(voters)):
        if bits.bit_count() == needed:
            yield [voter for place, voter in enumerate(voters) if bits >> place & 1]


def _is_deaf(core: Sequence[GhostNode], needed: int) -> bool:
    """In none of their terms would any of them be elected by the others."""

    def place(ghost: GhostNode) -> tuple[Term, int]:
        return ghost.disk.end.term, ghost.disk.end.last

    def would_grant(voter: GhostNode, candidate: GhostNode) -> bool:
        return place(voter) <= place(candidate) and voter.disk_state.term <= candidate.disk_state.term

    return all(sum(would_grant(voter, candidate) for voter in core) < needed for candidate in core)
