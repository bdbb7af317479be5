"""One seed from beginning to end, and many.

    found the group │ chaos │ a core quorum is well: progress │ all are well: equality │ histories

A run that breaks a property ends there; its report has the property, both sides, and the command that replays it. The
same seed and profile give the same digest, on every interpreter.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from zraft.core.entries import Kind
from zraft.session.items import Item
from zraft.sim.chance import Chance
from zraft.sim.checks.ghost import Trail, Violation
from zraft.sim.checks.witness import Command, check_witness
from zraft.sim.cluster import Cluster
from zraft.sim.faults import Chaos
from zraft.sim.healing import heal_all, heal_core
from zraft.sim.history import Put, Register, Remove
from zraft.sim.linearizability import Answer, check_history
from zraft.sim.profiles import Profile, draw_rates, profile_named
from zraft.types import Millis

FOUND_MS: Millis = 20_000
"""Time to found a group in a calm world."""

_ITEMS = msgspec.msgpack.Decoder(list[Item[list[str]]])


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


def run_seeds(first: int, last: int, profile: str, report: Callable[[Report], bool]) -> None:
    """Run the seeds `first` to `last`, both included, and hand over each report; stops where `report` answers False."""
    chosen = profile_named(profile)
    for seed in range(first, last + 1):
        if not report(run_seed(seed, chosen)):
            return


class _Run:
    """The course of one run."""

    def __init__(self, seed: int, profile: Profile, *, keep_trace: bool) -> None:
        self._profile = profile
        self.cluster = Cluster(seed, profile, keep_trace=keep_trace)
        self._chance = Chance(seed).split("run")
        self._chaos = Chaos(self.cluster, draw_rates(profile, self._chance.split("rates")), self._chance.split("chaos"))

    def perform(self) -> str:
        """Empty, or why a history could not be judged. Raises Violation."""
        cluster = self.cluster
        scheduler = cluster.scheduler
        for node in cluster.nodes.values():
            if not node.start():
                raise Violation("restart", f"{node.name} cannot start on an empty disk: {node.fault}")
        cluster.operator.start()
        while not cluster.operator.is_founded and scheduler.now_ms < FOUND_MS:
            scheduler.run_until(scheduler.now_ms + cluster.election_ms)
        if not cluster.operator.is_founded:
            raise Violation("progress", "no group could be founded")
        for client in cluster.clients.values():
            client.start()
        scheduler.run_until(scheduler.now_ms + self._chance.below(10 * cluster.election_ms))
        self._chaos.begin()
        scheduler.run_until(scheduler.now_ms + self._profile.chaos_timeouts * cluster.election_ms)
        self._chaos.end()
        heal_core(cluster, self._chance.split("core"))
        heal_all(cluster)
        return self._judge()

    def _judge(self) -> str:
        """What clients saw, against the log and on its own."""
        for client in self.cluster.clients.values():
            client.finish()
        history = [operation for client in self.cluster.clients.values() for operation in client.history]
        model = Register()
        problem = check_witness(history, commands(self.cluster.checks.ledger.committed), model)
        if problem:
            raise Violation("witness", problem)
        verdict = check_history(history, model)
        if verdict.answer is Answer.BAD:
            raise Violation("linearizability", verdict.explanation)
        return verdict.explanation

    def counters(self) -> Counters:
        cluster = self.cluster
        clients, nodes = cluster.clients.values(), cluster.nodes.values()
        faults = dict(self._chaos.counts)
        tally = cluster.network.tally
        for kind, count in (
            ("lost frame", tally.lost),
            ("duplicated frame", tally.duplicated),
            ("replayed frame", tally.replayed),
            ("disk error", sum(node.disk.tally.errors for node in nodes)),
            ("slow sync", sum(node.disk.tally.slow_syncs for node in nodes)),
            ("torn sector", sum(node.disk.tally.torn_sectors for node in nodes)),
            ("store failure", sum(node.tally.store_failures for node in nodes)),
        ):
            if count:
                faults[kind] = count
        return Counters(
            events=cluster.scheduler.performed,
            simulated_ms=cluster.scheduler.now_ms,
            nodes=len(cluster.nodes),
            steps=cluster.checks.steps,
            terms=len(cluster.checks.ledger.leader_of),
            committed=cluster.checks.ledger.committed.end.last,
            operations=sum(len(client.history) for client in clients),
            answered=sum(client.succeeded for client in clients),
            frames=tally.sent,
            images=sum(node.tally.images for node in nodes),
            faults=faults,
        )


def commands(committed: Trail) -> list[Command]:
    """The committed commands of the dict backend, in order."""
    found: list[Command] = []
    for mark in committed.marks:
        batch = mark.batch
        if batch is None or batch.kind != Kind.COMMANDS:
            continue
        for offset, item in enumerate(_ITEMS.decode(batch.payload)):
            key, *value = item.command
            found.append(Command(batch.first + offset, key, Put(value[0]) if value else Remove()))
    return found
