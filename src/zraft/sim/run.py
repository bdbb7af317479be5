"""One seed from beginning to end.

    found the group │ chaos │ a core quorum is well: progress │ all are well: equality │ histories

Two profiles change the third step: in `adverse` it is the worst core quorum, in `shapes` some links stay cut.

A run that breaks a property ends there; its report has the property, both sides, and the command that replays it. The
same seed and profile give the same digest, on every interpreter.
"""

from __future__ import annotations

import msgspec

from zraft.sim.adversity import find_adverse_core
from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Violation
from zraft.sim.cluster import Cluster
from zraft.sim.faults import Chaos
from zraft.sim.healing import check_sessions, heal_all, heal_core
from zraft.sim.judging import judge
from zraft.sim.profiles import Profile, draw_rates, profile_named
from zraft.sim.shapes import hold_shapes
from zraft.types import Millis

FOUND_MS: Millis = 20_000
"""Time to found a group in a calm world."""


class Counters(msgspec.Struct, kw_only=True):
    """What a run consisted of."""

    events: int = 0
    simulated_ms: Millis = 0
    nodes: int = 0
    steps: int = 0
    terms: int = 0
    committed: int = 0
    operations: int = 0
    answered: int = 0
    frames: int = 0
    images: int = 0
    faults: dict[str, int] = msgspec.field(default_factory=dict)


class Report(msgspec.Struct, kw_only=True):
    """One run. `failure` is empty where every property held; `unknown` where a history could not be judged."""

    seed: int
    profile: str
    failure: str
    unknown: str
    digest: str
    counters: Counters
    trace: list[str] = msgspec.field(default_factory=list)

    @property
    def command(self) -> str:
        """What replays this run."""
        return f"zraft sim --seed {self.seed} --profile {self.profile}"


def run_seed(seed: int, profile: Profile | str = "default", *, keep_trace: bool = False) -> Report:
    """Run one seed. Never raises for what the run found: that is the report's `failure`."""
    profile = profile_named(profile) if isinstance(profile, str) else profile
    run = _Run(seed, profile, keep_trace=keep_trace)
    failure, unknown = "", ""
    try:
        unknown = run.perform()
    except Violation as violation:
        failure = str(violation)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    return Report(
        seed=seed,
        profile=profile.name,
        failure=failure,
        unknown=unknown,
        digest=run.cluster.trace.digest(),
        counters=run.counters(),
        trace=run.cluster.trace.lines,
    )


class _Run:
    """The course of one run."""

    def __init__(self, seed: int, profile: Profile, *, keep_trace: bool) -> None:
        self._profile = profile
        self.cluster = Cluster(seed, profile, keep_trace=keep_trace)
        self._chance = Chance(seed).split("run")
        rates = draw_rates(profile, self._chance.split("rates"))
        self._chaos = Chaos(self.cluster, rates, self._chance.split("chaos"), profile.skew)

    def perform(self) -> str:
        """Empty, or why a history could not be judged. Raises Violation."""
        cluster = self.cluster
        scheduler = cluster.scheduler
        for node in cluster.nodes.values():
            if not node.start():
                raise Violation("restart", f"{node.name} cannot start on an empty disk: {node.fault}")
        operators = cluster.operators.values()
        for operator in operators:
            operator.start()
        while not all(operator.is_founded for operator in operators) and scheduler.now_ms < FOUND_MS:
            scheduler.run_until(scheduler.now_ms + cluster.election_ms)
        if not all(operator.is_founded for operator in operators):
            raise Violation("progress", "no group could be founded")
        for client in cluster.clients.values():
            client.start()
        for holder in cluster.session_clients.values():
            holder.start()
        scheduler.run_until(scheduler.now_ms + self._chance.below(10 * cluster.election_ms))
        self._chaos.begin()
        scheduler.run_until(scheduler.now_ms + self._profile.chaos_timeouts * cluster.election_ms)
        spared = find_adverse_core(cluster) if self._profile.adverse else None
        self._chaos.end()
        heal_core(cluster, self._chance.split("core"), spared)
        hold_shapes(cluster, self._profile.shapes, self._chance.split("shapes"))
        for holder in cluster.session_clients.values():
            holder.rest()
        heal_all(cluster)
        check_sessions(cluster)
        for client in cluster.clients.values():
            client.finish()
        backend = self._profile.backend
        verdicts = [judge(group.history(), group.checks.ledger.committed, backend) for group in cluster.groups]
        return "; ".join(verdict for verdict in verdicts if verdict)

    def counters(self) -> Counters:
        cluster = self.cluster
        clients, nodes = cluster.clients.values(), cluster.nodes.values()
        faults = self._chaos.counts | cluster.counts
        tally = cluster.network.tally
        for kind, count in (
            ("lost frame", tally.lost),
            ("duplicated frame", tally.duplicated),
            ("replayed frame", tally.replayed),
            ("disk error", sum(node.disk.tally.errors for node in nodes)),
            ("read error", sum(node.disk.tally.read_errors for node in nodes)),
            ("short write", sum(node.disk.tally.short_writes for node in nodes)),
            ("disk full", sum(node.disk.tally.no_space for node in nodes)),
            ("slow sync", sum(node.disk.tally.slow_syncs for node in nodes)),
            ("lost name", sum(node.disk.tally.lost_names for node in nodes)),
            ("torn sector", sum(node.disk.tally.torn_sectors for node in nodes)),
            ("refused start", sum(node.tally.refused_starts for node in nodes)),
            ("message not known", sum(node.tally.not_known for node in nodes)),
            ("store failure", sum(node.tally.store_failures for node in nodes)),
            ("snapshot", sum(node.vault.tally.written for node in nodes)),
            ("snapshot fetched", sum(node.vault.tally.fetched for node in nodes)),
            ("snapshot installed", sum(node.vault.tally.installed for node in nodes)),
            ("snapshot failed", sum(node.vault.tally.failed for node in nodes)),
            ("transfer resumed", sum(node.vault.tally.resumed for node in nodes)),
        ):
            if count:
                faults[kind] = count
        return Counters(
            events=cluster.scheduler.performed,
            simulated_ms=cluster.scheduler.now_ms,
            nodes=len(cluster.nodes),
            steps=sum(group.checks.steps for group in cluster.groups),
            terms=sum(len(group.checks.ledger.leader_of) for group in cluster.groups),
            committed=sum(group.checks.ledger.committed.end.last for group in cluster.groups),
            operations=sum(len(client.history) for client in clients),
            answered=sum(client.succeeded for client in clients),
            frames=tally.sent,
            images=sum(node.tally.images for node in nodes),
            faults=faults,
        )
