"""After the chaos: progress as soon as a quorum is well, and equality once everybody is.

Core quorum: nodes are left down as long as every configuration that any log ends with keeps its majorities. The
others are well again, and then clients must succeed within a bound (L1, L3). At last all are well, and all members
must come to hold the same log and the same state (L4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from zraft.core.entries import Membership
from zraft.peer.peer import Peer
from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Violation
from zraft.sim.cluster import Cluster
from zraft.sim.faults import calm_down
from zraft.sim.node import SimNode
from zraft.sim.operator import PEER
from zraft.types import Member

Condition: TypeAlias = Callable[[], bool]

SETTLE_TIMEOUTS = 3
"""Election timeouts after which no request for a change is under way any more."""

PROGRESS_TIMEOUTS = 300
"""Election timeouts within which a healed quorum must serve. Generous: it is about ever or never."""

EQUAL_TIMEOUTS = 100
"""Election timeouts within which healed members must be equal."""


def heal_core(cluster: Cluster, chance: Chance) -> None:
    """Nodes of a core quorum are well, the others are down; then progress is required."""
    cluster.operator.is_done = True
    calm_down(cluster)
    cluster.scheduler.run_until(cluster.scheduler.now_ms + SETTLE_TIMEOUTS * cluster.election_ms)
    spared = _left_down(cluster, chance)
    for name, node in cluster.nodes.items():
        if name in spared:
            node.crash(power_loss=False)
        elif node.host is None:
            _start(node)
    served = _served(cluster)
    if not _run_until(cluster, PROGRESS_TIMEOUTS, lambda: _served(cluster) > served + len(cluster.clients)):
        raise Violation("progress", f"nobody was served for {PROGRESS_TIMEOUTS} election timeouts; {_story(cluster)}")


def heal_all(cluster: Cluster) -> None:
    """Everybody is well; then equality is required."""
    for node in cluster.nodes.values():
        if node.host is None:
            _start(node)
    served = _served(cluster)
    if not _run_until(cluster, PROGRESS_TIMEOUTS, lambda: _served(cluster) > served + len(cluster.clients)):
        raise Violation("progress", f"nobody was served after all was healed; {_story(cluster)}")
    for client in cluster.clients.values():
        client.stop()
    if not _run_until(cluster, EQUAL_TIMEOUTS, lambda: _is_equal(cluster)):
        raise Violation("equality", f"{_difference(cluster)}; {_story(cluster)}")


WATCH_TIMEOUTS = 20
"""Election timeouts in which clients with sessions watch each other, all being well."""


def check_sessions(cluster: Cluster) -> None:
    """Silent clients' sessions end, though nobody writes (S5), those of others do not; no watch misses a change."""
    holders = list(cluster.session_clients.values())
    if not holders:
        return
    _sessions_end(cluster)
    for holder in holders:
        holder.wake()
    cluster.scheduler.run_until(cluster.scheduler.now_ms + WATCH_TIMEOUTS * cluster.election_ms)
    leaving = next((holder for holder in holders if not holder.is_silent), None)
    if leaving is not None:
        leaving.leave()
    for holder in holders:
        holder.rest()
    _sessions_end(cluster)
    watches = [watched for holder in holders if not holder.is_silent for watched in holder.open_watches]
    cluster.session_checks.judge(cluster.checks.ledger.committed, watches)


def _sessions_end(cluster: Cluster) -> None:
    """After the longest period and three election timeouts those of silent clients are gone, and no others."""
    holders = cluster.session_clients.values()
    most = max(holder.timeout_ms for holder in holders)
    cluster.scheduler.run_until(cluster.scheduler.now_ms + int(1.03 * most) + 3 * cluster.election_ms)
    _, peers = _members(cluster)
    for holder in holders:
        lives = [holder.session in peer.machine.sessions for peer in peers] if holder.session else []
        if holder.is_silent and any(lives):
            raise Violation("sessions", f"{holder.name} is silent, its session {holder.session} has not ended")
        if not holder.is_silent and not all(lives):
            raise Violation("sessions", f"session {holder.session} of {holder.name} has ended, and it was kept alive")


def _start(node: SimNode) -> None:
    if not node.start() and not node.start():  # a rotten disk was exchanged for an empty one
        raise Violation("restart", f"{node.name} cannot start: {node.fault}")


def _served(cluster: Cluster) -> int:
    return sum(client.succeeded for client in cluster.clients.values())


def _run_until(cluster: Cluster, timeouts: int, is_reached: Condition) -> bool:
    for _ in range(timeouts):
        if is_reached():
            return True
        cluster.scheduler.run_until(cluster.scheduler.now_ms + cluster.election_ms)
    return is_reached()


def _left_down(cluster: Cluster, chance: Chance) -> list[str]:
    """Nodes without which every configuration at the end of any log can still decide."""
    ghosts = cluster.checks.ledger.nodes.values()
    in_force = [ghost.disk.configurations[-1].membership for ghost in ghosts if ghost.disk.configurations]
    in_force += [ghost.log.configurations[-1].membership for ghost in ghosts if ghost.log.configurations]
    down: list[str] = []
    lost = cluster.operator.lost
    for name in chance.shuffled(cluster.names):
        is_spare = all(can_decide(membership, [*down, name], lost) for membership in in_force if membership is not None)
        if is_spare and chance.below(4):
            down.append(name)
    return down if in_force else []


def can_decide(membership: Membership, down: Sequence[str], lost: Sequence[Member] = ()) -> bool:
    """Majorities of all voter sets, also the one that is the target, are on other nodes than `down`, and not `lost`."""

    def is_well(voters: tuple[Member, ...]) -> bool:
        well = sum(voter.peer.node not in down and voter not in lost for voter in voters)
        return 2 * well > len(voters) or not voters

    return is_well(membership.voters) and is_well(membership.outgoing) and is_well(membership.target)


def _is_equal(cluster: Cluster) -> bool:
    """No difference; members that lost their data are taken in again first."""
    if not _difference(cluster):
        return True
    for node in cluster.nodes.values():
        if node.host is None:
            _start(node)
    if cluster.operator.lost:
        cluster.operator.readmit()
    return False


def _members(cluster: Cluster) -> tuple[str, list[Peer]]:
    """The replicas of the last committed configuration; or what is wrong with that."""
    ledger = cluster.checks.ledger
    if not ledger.committed.configurations:
        return "no configuration is committed", []
    last = ledger.committed.configurations[-1].membership
    if last is None or not last.is_stable:
        return f"the configuration is not stable: {last}", []
    peers = [peer for member in last.voters if (peer := _peer(cluster, member)) is not None]
    if len(peers) < len(last.voters):
        return f"not every member runs: {', '.join(str(member) for member in last.voters)}", []
    return "", peers


def _difference(cluster: Cluster) -> str:
    """Empty, or what keeps the members of the last committed configuration from being equal."""
    ledger = cluster.checks.ledger
    problem, peers = _members(cluster)
    if problem:
        return problem
    states = [(peer.raft.log.last_index, peer.raft.commit_index, peer.machine.last_applied) for peer in peers]
    end = ledger.committed.end.last
    if any(state != (end, end, end) for state in states):
        return f"logs end, are committed and applied at {states}, the group committed {end}"
    digests = [peer.machine.backend.digest() for peer in peers]
    for peer, digest in zip(peers, digests, strict=True):
        cluster.checks.applied(peer.raft.me, end, digest)
    return ""


def _peer(cluster: Cluster, member: Member) -> Peer | None:
    host = cluster.nodes[member.peer.node].host
    peer = host.peers.get(PEER) if host is not None else None
    return peer if peer is not None and peer.raft.me == member else None


def _story(cluster: Cluster) -> str:
    """Every replica in a few words."""
    words: list[str] = []
    for name, node in cluster.nodes.items():
        peer = node.host.peers.get(PEER) if node.host is not None else None
        if peer is None:
            words.append(f"{name} {'has no peer' if node.is_up else 'is down'}")
            continue
        raft, membership = peer.raft, peer.raft.membership
        voters = ",".join(str(member) for member in membership.voters) if membership is not None else "none"
        outgoing = ",".join(str(member) for member in membership.outgoing) if membership is not None else ""
        words.append(
            f"{raft.me} {raft.role_name.value} term {raft.current_term} {raft.log} commit {raft.commit_index} "
            f"applied {peer.machine.last_applied} voters {voters} outgoing {outgoing or 'none'}"
        )
    return "; ".join(words)
