"""One seed from beginning to end.

    found the group │ chaos │ a core quorum is well: progress │ all are well: equality │ histories

Two profiles change the third step: in `adverse` it is the worst core quorum, in `shapes` some links stay cut.

A run that breaks a property ends there; its report has the property, both sides, and the command that replays it. The
same seed and profile give the same digest, on every interpreter.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zraft.sim.acts import Fault
from zraft.sim.adversity import find_adverse_core
from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Violation
from zraft.sim.cluster import Cluster
from zraft.sim.excerpt import WHOLE, Excerpt
from zraft.sim.faults import Chaos
from zraft.sim.healing import check_sessions, heal_all, heal_core
from zraft.sim.judging import judge
from zraft.sim.profiles import Profile, Rates, draw_rates, profile_named
from zraft.sim.scheduler import TimeIsUp
from zraft.sim.shapes import hold_shapes
from zraft.sim.trials.trial import Trial
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


class Attempt(msgspec.Struct, kw_only=True):
    """A run, and what a shorter one can be made of."""

    report: Report
    property: str
    """The name of the one that broke; the class of an error that nobody expected; "": none."""
    at_ms: Millis
    """When the run ended."""
    is_in_chaos: bool
    """It ended before anything was healed."""
    faults: list[Fault]
    commands: list[str]
    """What clients asked, by client and number."""
    rates: Rates
    """What the seed drew."""
    story: list[str]
    """What happened, in lines; [] where no trace was kept."""


def run_seed(
    seed: int, profile: Profile | str = "default", *, keep_trace: bool = False, trial: Trial | None = None
) -> Report:
    """Run one seed. Never raises for what the run found: that is the report's `failure`."""
    return attempt(seed, profile, keep_trace=keep_trace, trial=trial).report


def attempt(
    seed: int,
    profile: Profile | str = "default",
    *,
    keep_trace: bool = False,
    trial: Trial | None = None,
    excerpt: Excerpt = WHOLE,
    script: Sequence[Fault] | None = None,
) -> Attempt:
    """Run one seed, or an excerpt of it, which needs the `script` that the whole run has left, its `faults`."""
    profile = profile_named(profile) if isinstance(profile, str) else profile
    if trial is not None:
        profile = msgspec.structs.replace(profile, backend=trial.name)
    run = _Run(seed, profile, keep_trace=keep_trace, trial=trial, excerpt=excerpt, script=script)
    broken, failure, unknown = "", "", ""
    try:
        unknown = run.perform()
    except TimeIsUp:
        pass
    except Violation as violation:
        broken, failure = violation.name, str(violation)
    except Exception as error:
        broken, failure = type(error).__name__, f"{type(error).__name__}: {error}"
    trace = run.cluster.trace
    return Attempt(
        report=Report(
            seed=seed,
            profile=profile.name,
            failure=failure,
            unknown=unknown,
            digest=trace.digest(),
            counters=run.counters(),
            trace=trace.lines,
        ),
        property=broken,
        at_ms=run.cluster.scheduler.now_ms,
        is_in_chaos=run.is_in_chaos,
        faults=run.chaos.faults,
        commands=[name for client in run.cluster.clients.values() for name in client.asked],
        rates=run.rates,
        story=trace.story,
    )


class _Run:
    """The course of one run."""

    def __init__(
        self,
        seed: int,
        profile: Profile,
        *,
        keep_trace: bool,
        trial: Trial | None,
        excerpt: Excerpt,
        script: Sequence[Fault] | None,
    ) -> None:
        self._profile = profile
        self.cluster = Cluster(seed, profile, keep_trace=keep_trace, trial=trial, excerpt=excerpt)
        self._chance = Chance(seed).split("run")
        self.rates = excerpt.calmed(draw_rates(profile, self._chance.split("rates")))
        if script is not None and excerpt.faults is not None:
            script = [fault for fault in script if fault.number in excerpt.faults]
        self.chaos = Chaos(self.cluster, self.rates, self._chance.split("chaos"), profile.skew, script=script)
        self.is_in_chaos = True
        if excerpt.until_ms:
            self.cluster.scheduler.end_ms = excerpt.until_ms

    def perform(self) -> str:
        """Empty, or why a history could not be judged. Raises Violation."""
        cluster = self.cluster
        scheduler = cluster.scheduler
        if cluster.examination is not None:
            cluster.examination.begin()
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
        self.chaos.begin()
        scheduler.run_until(scheduler.now_ms + self._profile.chaos_timeouts * cluster.election_ms)
        spared = find_adverse_core(cluster) if self._profile.adverse else None
        self.chaos.end()
        self.is_in_chaos = False
        heal_core(cluster, self._chance.split("core"), spared)
        hold_shapes(cluster, self._profile.shapes, self._chance.split("shapes"))
        for holder in cluster.session_clients.values():
            holder.rest()
        heal_all(cluster)
        check_sessions(cluster)
        for client in cluster.clients.values():
            client.finish()
        if cluster.examination is not None:
            cluster.examination.judge(cluster.groups[0].exchanges())
            return ""
        backend = self._profile.backend
        verdicts = [judge(group.history(), group.checks.ledger.committed, backend) for group in cluster.groups]
        return "; ".join(verdict for verdict in verdicts if verdict)

    def counters(self) -> Counters:
        cluster = self.cluster
        clients, nodes = cluster.clients.values(), cluster.nodes.values()
        faults = self.chaos.counts | cluster.counts
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
            operations=sum(client.operations for client in clients),
            answered=sum(client.succeeded for client in clients),
            frames=tally.sent,
            images=sum(node.tally.images for node in nodes),
            faults=faults,
        )
