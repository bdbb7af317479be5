"""After the chaos: progress as soon as a quorum is well, and equality once everybody is.

Core quorum: nodes are left down as long as every configuration that any log ends with keeps its majorities. The
others are well again, and then clients must succeed within a bound (L1, L3). At last all are well, and all members
must come to hold the same log and the same state (L4), and then the leader must lead on (BM-042).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from zraft.peer.peer import Peer
from zraft.sim.acts import Drift, perform
from zraft.sim.atlas import can_decide, in_force
from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Violation
from zraft.sim.checks.sessions import Totals
from zraft.sim.cluster import Cluster
from zraft.sim.faults import calm_down
from zraft.sim.groups import SimGroup, served
from zraft.sim.node import SimNode
from zraft.types import Member, Term

Condition: TypeAlias = Callable[[], bool]

SETTLE_TIMEOUTS = 3
"""Election timeouts after which no request for a change is under way any more."""

PROGRESS_TIMEOUTS = 300
"""Election timeouts within which a healed quorum must serve. Generous: it is about ever or never."""

EQUAL_TIMEOUTS = 100
"""Election timeouts within which healed members must be equal."""

QUIET_TIMEOUTS = 10
"""Election timeouts for which the leader must lead on once they are."""


def heal_core(cluster: Cluster, chance: Chance, down: Sequence[str] | None = None) -> None:
    """Nodes of a core quorum are well, the others are down; then progress is required.

    `down`: these are left down, and the others begin anew as they are; None: it is drawn once they have settled.
    """
    for operator in cluster.operators.values():
        operator.is_done = True
    if down is not None:
        for node in cluster.nodes.values():
            node.crash(power_loss=False)
    calm_down(cluster)
    for node in cluster.nodes.values():
        if node.is_spoiled:
            node.crash(power_loss=False)  # it finds out when it is started anew
    if down is None:
        cluster.scheduler.run_until(cluster.scheduler.now_ms + SETTLE_TIMEOUTS * cluster.election_ms)
    spared = _left_down(cluster, chance) if down is None else down
    for name, node in cluster.nodes.items():
        if name in spared:
            node.crash(power_loss=False)
        elif node.host is None:
            _start(node)
    require_progress(cluster, f"nobody was served for {PROGRESS_TIMEOUTS} election timeouts")


def start_all(cluster: Cluster) -> None:
    """Nobody is down any more. Raises Violation."""
    for node in cluster.nodes.values():
        if node.host is None:
            _start(node)


def heal_all(cluster: Cluster) -> None:
    """Everybody is well; then equality is required.

    A node whose pause ended early is so once what was put off has come: a leader may be silent until then. And what a
    link has held back until now may still ask for another leader.
    """
    start_all(cluster)
    put_off_to_ms = max(node.owner.put_off_to_ms for node in cluster.nodes.values())
    cluster.scheduler.run_until(max(put_off_to_ms, cluster.network.cleared_ms))
    require_progress(cluster, "nobody was served after all was healed")
    for client in cluster.clients.values():
        client.stop()
    for group in cluster.groups:
        if not _run_until(cluster, EQUAL_TIMEOUTS, partial(_is_equal, cluster, group)):
            raise Violation("equality", f"{_difference(cluster, group)}; {_story(cluster, group)}")
    _keep_quiet(cluster)


def _keep_quiet(cluster: Cluster) -> None:
    """Everybody is well and equal: nobody takes the leadership away any more, not those either who were removed."""
    before = [_leadership(group) for group in cluster.groups]
    cluster.scheduler.run_until(cluster.scheduler.now_ms + QUIET_TIMEOUTS * cluster.election_ms)
    for group, leadership in zip(cluster.groups, before, strict=True):
        if _leadership(group) != leadership:
            story = _story(cluster, group)
            raise Violation("stability", f"{leadership} led, and then {_leadership(group)}; {story}")


def _leadership(group: SimGroup) -> tuple[Term, Member | None]:
    terms = group.checks.ledger.leader_of
    return max(terms, default=0), terms[max(terms)] if terms else None


WATCH_TIMEOUTS = 20
"""Election timeouts in which clients with sessions watch each other, all being well."""


def check_sessions(cluster: Cluster) -> Totals:
    """Silent clients' sessions end, though nobody writes (S5), those of others do not; no watch misses a change.

    From now on the clocks keep time.
    """
    holders = list(cluster.session_clients.values())
    if not holders:
        return Totals(0, 0, 0)
    if not cluster.session_checks.keeps_time:
        for name in cluster.names:
            perform(cluster, Drift(name, 1000))
    _sessions_end(cluster)
    for holder in holders:
        holder.wake()
    cluster.scheduler.run_until(cluster.scheduler.now_ms + WATCH_TIMEOUTS * cluster.election_ms)
    leaving = next((holder for holder in holders if not holder.is_silent), None)
    if leaving is not None:
        leaving.leave()
    for holder in holders:
        holder.rest()
    end = cluster.checks.ledger.committed.end.last
    _sessions_end(cluster)
    for holder in holders:
        is_served = holder.session and not holder.is_silent
        if holder.stream is not None and is_served and (holder.stream.upto or 0) < end:
            text = f"{holder.name} knows its stream up to {holder.stream.upto}, the log ended at {end} long ago"
            raise Violation("streams", text)
    watches = [watched for holder in holders if not holder.is_silent for watched in holder.open_watches]
    return cluster.session_checks.judge(cluster.checks.ledger.committed, watches)


def _sessions_end(cluster: Cluster) -> None:
    """After the longest period and three election timeouts those of silent clients are gone, and no others."""
    holders = cluster.session_clients.values()
    most = max(holder.timeout_ms for holder in holders)
    cluster.scheduler.run_until(cluster.scheduler.now_ms + int(1.03 * most) + 3 * cluster.election_ms)
    _, peers = _members(cluster, cluster.groups[0])
    for holder in holders:
        lives = [holder.session in peer.machine.sessions for peer in peers] if holder.session else []
        if holder.is_silent and any(lives):
            raise Violation("sessions", f"{holder.name} is silent, its session {holder.session} has not ended")
        if not holder.is_silent and not all(lives):
            raise Violation("sessions", f"session {holder.session} of {holder.name} has ended, and it was kept alive")


def _start(node: SimNode) -> None:
    if not node.start() and not node.start():  # a rotten disk was exchanged for an empty one
        raise Violation("restart", f"{node.name} cannot start: {node.fault}")


def require_progress(cluster: Cluster, otherwise: str) -> None:
    """Clients of every group succeed. Raises Violation."""
    before = served(cluster.groups)
    for client in cluster.clients.values():
        client.hurry()

    def waiting() -> list[SimGroup]:
        pairs = zip(cluster.groups, before, strict=True)
        return [group for group, count in pairs if group.served() <= count + len(group.clients)]

    def is_reached() -> bool:
        return all([node.start_replicas() for node in cluster.nodes.values()]) and not waiting()  # noqa: C419 - all of them

    if not _run_until(cluster, PROGRESS_TIMEOUTS, is_reached):
        raise Violation("progress", f"{otherwise}; {_story(cluster, [*waiting(), cluster.groups[0]][0])}")


def _run_until(cluster: Cluster, timeouts: int, is_reached: Condition) -> bool:
    for _ in range(timeouts):
        if is_reached():
            return True
        cluster.scheduler.run_until(cluster.scheduler.now_ms + cluster.election_ms)
    return is_reached()


def _left_down(cluster: Cluster, chance: Chance) -> list[str]:
    """Nodes without which every configuration at the end of any log can still decide.

    None before every group has committed its first one: who has that may be down, and the others blank.
    """
    if not all(group.checks.ledger.committed.configurations for group in cluster.groups):
        return []
    found = in_force(cluster.groups)
    down: list[str] = []
    unsound = [name for name, node in cluster.nodes.items() if node.is_rotten]
    lost = [member for operator in cluster.operators.values() for member in operator.lost]
    for name in chance.shuffled(cluster.names):
        is_spare = all(can_decide(membership, [*unsound, *down, name], lost) for membership in found)
        if is_spare and chance.below(4):
            down.append(name)
    return down


def _is_equal(cluster: Cluster, group: SimGroup) -> bool:
    """No difference; members that lost their data, or were left out and are gone, are taken in again first."""
    if not _difference(cluster, group):
        return True
    start_all(cluster)
    for name, node in cluster.nodes.items():
        if name in group.operator.members and node.host is not None and group.name not in node.host.peers:
            group.operator.replace(name)
    if group.operator.lost:
        group.operator.readmit()
    return False


def _members(cluster: Cluster, group: SimGroup) -> tuple[str, list[Peer]]:
    """The replicas of the last committed configuration; or what is wrong with that."""
    ledger = group.checks.ledger
    if not ledger.committed.configurations:
        return "no configuration is committed", []
    last = ledger.committed.configurations[-1].membership
    if last is None or not last.is_stable:
        return f"the configuration is not stable: {last}", []
    peers = [peer for member in last.voters if (peer := _peer(cluster, group, member)) is not None]
    if len(peers) < len(last.voters):
        return f"not every member runs: {', '.join(str(member) for member in last.voters)}", []
    return "", peers


def _difference(cluster: Cluster, group: SimGroup) -> str:
    """Empty, or what keeps the members of the last committed configuration from being equal."""
    ledger = group.checks.ledger
    problem, peers = _members(cluster, group)
    if problem:
        return problem
    states = [(peer.raft.log.last_index, peer.raft.commit_index, peer.machine.last_applied) for peer in peers]
    end = ledger.committed.end.last
    if any(state != (end, end, end) for state in states):
        return f"logs end, are committed and applied at {states}, the group committed {end}"
    digests = [peer.machine.backend.digest() for peer in peers]
    for peer, digest in zip(peers, digests, strict=True):
        group.checks.applied(peer.raft.me, end, digest)
    return ""


def _peer(cluster: Cluster, group: SimGroup, member: Member) -> Peer | None:
    host = cluster.nodes[member.peer.node].host
    peer = host.peers.get(group.name) if host is not None else None
    return peer if peer is not None and peer.raft.me == member else None


def _story(cluster: Cluster, group: SimGroup) -> str:
    """Every replica in a few words."""
    words: list[str] = []
    for name, node in cluster.nodes.items():
        peer = node.host.peers.get(group.name) if node.host is not None else None
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
