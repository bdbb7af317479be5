"""What stays broken: as long as a majority is connected, each with each, it has a leader that stays (L1, L2).

Links (BM-107, BM-108): two of three that do not reach each other, a leader that reaches one follower only, two halves
with one node in common. Or the disk of the leader, which takes what it is given and never says that it is done
(BM-099).
"""

from __future__ import annotations

from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Violation
from zraft.sim.cluster import Cluster
from zraft.sim.healing import require_progress, start_all
from zraft.sim.network import Link, bridge, chain, isolate, star_only

HOLD_TIMEOUTS = 25
"""Election timeouts for which a shape is held once clients are served."""

_NEVER_MS = 1 << 40

LEADERS_AT_MOST = 3
"""Terms with a leader that may begin meanwhile."""


def hold_shapes(cluster: Cluster, count: int, chance: Chance) -> None:
    """So many shapes, one after the other, each around the leader that there is. Raises Violation."""
    for _ in range(count if len(cluster.names) > 2 else 0):
        start_all(cluster)
        require_progress(cluster, "nobody was served between two shapes")
        if chance.below(4) == 0:
            _hold_dead_disk(cluster)
            continue
        kind, links = _shape(cluster, chance)
        cluster.counts[f"held {kind}"] = cluster.counts.get(f"held {kind}", 0) + 1
        for link in links:
            cluster.network.cut(*link)
        _hold(cluster, f"{kind}: {', '.join('-'.join(link) for link in links)}")
        for link in links:
            cluster.mend(*link)


def _hold_dead_disk(cluster: Cluster) -> None:
    leader = cluster.leader()
    if leader is not None:
        cluster.counts["held dead disk"] = cluster.counts.get("held dead disk", 0) + 1
        leader.disk.faults.stalled_until_ms = cluster.scheduler.now_ms + _NEVER_MS
        _hold(cluster, f"{leader.name} with a dead disk")
        leader.disk.faults.stalled_until_ms = 0
        leader.crash(power_loss=False)


def _shape(cluster: Cluster, chance: Chance) -> tuple[str, list[Link]]:
    """The leader at the worst place, or anywhere."""
    order = chance.shuffled(cluster.names)
    leader = cluster.leader()
    if leader is not None and chance.below(4):
        order.remove(leader.name)
        order.insert(0, leader.name)
    if len(order) < 5:
        return "chain", chain(order)
    match chance.below(3):
        case 0:
            return "bridge", bridge(order, order[-1])
        case 1:
            return "one link left", star_only(order, order[0], order[-1])
        case _:  # the others need the one that still hears the leader
            links = [*star_only(order, order[0], order[-1]), *isolate(order, order[1])]
            return "one link left, one alone", list(dict.fromkeys(links))


def _hold(cluster: Cluster, shape: str) -> None:
    terms = cluster.checks.ledger.leader_of
    require_progress(cluster, f"nobody was served in the shape {shape}")
    before = len(terms)
    cluster.scheduler.run_until(cluster.scheduler.now_ms + HOLD_TIMEOUTS * cluster.election_ms)
    if len(terms) - before > LEADERS_AT_MOST:
        raise Violation("stability", f"{len(terms) - before} leaders followed each other in the shape {shape}")
    require_progress(cluster, f"nobody was served in the shape {shape} after a while")
