"""Chaos: at every tick it is drawn whether something happens to a node, a link or the group, at the seed's rates.

Half of what happens to one node happens to the leader. Every fault that begins may end by itself or be ended by `heal`.
What is done is counted by kind, and recorded: the record of one run can be the script of another one (`excerpt`), in
which the same happens at the same ticks, or some of it, and nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from zraft.sim.acts import (
    Act,
    Blackout,
    Change,
    Clog,
    Crash,
    Cut,
    Decay,
    Drift,
    Fault,
    HastyChange,
    Heal,
    JumpWall,
    Move,
    Nap,
    Pause,
    Readmit,
    Restart,
    Rot,
    Stall,
    StartReplicas,
    StopReplica,
    Wipe,
    perform,
    told,
)
from zraft.sim.atlas import may_spoil
from zraft.sim.chance import Chance
from zraft.sim.cluster import Cluster
from zraft.sim.disk import DiskFaults
from zraft.sim.network import Link, Weather, bridge, chain, halves, isolate, one_way, star_only
from zraft.sim.node import SimNode
from zraft.sim.profiles import TICKS_PER_TIMEOUT, Range, Rates
from zraft.sim.vault import VaultFaults

_HOUR_MS = 3_600_000

CALM = Weather(delay_ms=1, jitter_ms=1)
"""The weather after the chaos."""


class Chaos:
    """Of one run."""

    def __init__(
        self, cluster: Cluster, rates: Rates, chance: Chance, skew: Range, *, script: Sequence[Fault] | None = None
    ) -> None:
        """`skew`: the rates at which clocks may run. `script`: this is what happens, at its ticks, and nothing else."""
        self._cluster, self._rates, self._chance, self._skew = cluster, rates, chance, skew
        self.counts: dict[str, int] = {}
        self._victim = cluster.nodes[chance.choice(cluster.names)]
        """The only node whose disk is lost or rots: everything committed stays on the others."""
        self._late = chance.split("late")
        """For faults that were thought of later: those that were there before come at the same moments."""
        self._known_terms: dict[str, int] = {}
        """Of each group, the term of the last leader that was asked for other members."""
        self._is_over = False
        self._ticks = 0
        self.faults: list[Fault] = []
        """What happened."""
        self._script = script
        self._piece_bytes = chance.split("pieces").choice([16, 200, 5000])

    def begin(self) -> None:
        """Weather and disks change, and the ticks begin."""
        cluster, rates = self._cluster, self._rates
        cluster.network.weather = Weather(
            delay_ms=1,
            jitter_ms=rates.jitter_ms,
            loss=rates.loss,
            duplicate=rates.duplicate,
            replay=rates.replay,
            replay_ms=10 * cluster.election_ms,
        )
        for name in (*cluster.clients, *cluster.session_clients, *cluster.operators):
            loss = rates.loss if name not in cluster.operators else 0
            for node_name in cluster.nodes:
                weather = Weather(delay_ms=1, jitter_ms=rates.jitter_ms, loss=loss)
                cluster.network.set_weather(name, node_name, weather)
                cluster.network.set_weather(node_name, name, weather)
        slow = self._chance.split("apply")
        for node in cluster.nodes.values():
            node.disk.faults = DiskFaults(
                sync_ms=1,
                sync_jitter_ms=self._chance.exponential(rates.sync_ms),
                slow=rates.slow_sync,
                slow_ms=self._chance.between(50, 1000),
                write_error=rates.write_error,
                sync_error=rates.sync_error,
                read_error=rates.read_error,
                quota=rates.quota,
                sticky=self._chance.below(2) == 0,
            )
            node.apply_ms = rates.slow_apply if slow.below(2) else 0
            node.vault.faults = VaultFaults(
                step_ms=1 + rates.snapshot_ms,
                write_error=rates.snapshot_error,
                no_space=rates.snapshot_error // 2,
                lost=rates.transfer_error,
                garbled=rates.transfer_error // 8,
                piece_bytes=self._piece_bytes,
                patience_ms=10 * cluster.election_ms,
            )
        cluster.scheduler.after(cluster.election_ms // TICKS_PER_TIMEOUT, self._tick)

    def end(self) -> None:
        """No further tick. What is broken stays broken until somebody mends it."""
        self._is_over = True

    def _tick(self, _: object) -> None:
        if self._is_over:
            return
        rates, chance = self._rates, self._chance
        cluster = self._cluster
        cluster.scheduler.after(cluster.election_ms // TICKS_PER_TIMEOUT, self._tick)
        self._ticks += 1
        if self._script is not None:
            self._follow(self._script)
            return
        leader = cluster.leader()
        node = cluster.nodes[chance.choice(cluster.names)] if leader is None or chance.below(2) else leader
        if chance.happens(rates.crash):
            power_loss = chance.below(2) == 0
            self._do(Crash(node.name, power_loss), "power loss" if power_loss else "kill")
        if chance.happens(rates.blackout):
            self._do(Blackout(), "blackout")
        if node.host is None and chance.happens(rates.restart):
            self._do(Restart(node.name))
        if chance.happens(rates.partition):
            kind, links = self._shape()
            self._do(Cut(tuple(links), kind), "partition", f"partition: {kind}")
        if chance.happens(rates.heal):
            self._do(Heal(), "heal")
        if chance.happens(rates.clog):
            self._clog()
        if chance.happens(rates.pause):
            self._do(Pause(node.name, chance.between(1, 10) * cluster.election_ms), "pause")
        if chance.happens(rates.stall):
            self._do(Stall(node.name, chance.between(1, 10) * cluster.election_ms), "stall")
        if chance.happens(rates.churn):
            self._do(Change(self._some_operator()), "change")
        if chance.happens(rates.transfer):
            self._do(Move(self._some_operator()), "transfer")
        if rates.stop:
            self._stop_or_start(node)
        if chance.happens(rates.cut_off):
            self._cut_off()
        if rates.wipe or rates.rot:
            self._spoil()
        if rates.decay and chance.happens(rates.decay):
            self._decay(node)
        self._do_late(node)

    def _do(self, act: Act, *kinds: str) -> None:
        """It happens, and is recorded."""
        self._perform(Fault(len(self.faults) + 1, self._ticks, act, kinds))

    def _follow(self, script: Sequence[Fault]) -> None:
        for fault in script:
            if fault.tick == self._ticks:
                self._perform(fault)

    def _perform(self, fault: Fault) -> None:
        for kind in fault.kinds:
            self.counts[kind] = self.counts.get(kind, 0) + 1
        self.faults.append(fault)
        trace = self._cluster.trace
        if trace.keep and (text := told(fault.act)):
            trace.tell("the world", text)
        perform(self._cluster, fault.act)

    def _do_late(self, node: SimNode) -> None:
        rates, late = self._rates, self._late
        if late.happens(rates.wall_jump):
            self._do(JumpWall(node.name, late.between(-_HOUR_MS, _HOUR_MS)), "wall clock jump")
        if late.happens(rates.drift):
            self._do(Drift(node.name, late.between(*self._skew)), "clock rate change")
        if late.happens(rates.nap):
            self._cut_off_a_sleeper()
        if rates.eager:
            self._be_hasty()

    def _cut_off_a_sleeper(self) -> None:
        """A quiet leader whose clock gets slow: the others replace it before it notices that it is alone."""
        cluster, slowest, fastest = self._cluster, *self._skew
        leader = cluster.leader()
        if leader is None or leader.host is None or cluster.network.cut_links():
            return
        peer = leader.host.peers.get(cluster.groups[0].name)
        if peer is None or not peer.raft.role.is_quiet:
            return
        rates = [
            (name, slowest if node is leader else self._late.between(1000, fastest))
            for name, node in cluster.nodes.items()
        ]
        self._do(Nap(leader.name, tuple(rates)), "cut off asleep")

    def _be_hasty(self) -> None:
        for group in self._cluster.groups:
            leaders = group.checks.ledger.leader_of
            term = max(leaders, default=0)
            is_new = term > self._known_terms.get(group.name, 0)
            self._known_terms[group.name] = term
            if is_new and self._late.happens(self._rates.eager):
                self._do(HastyChange(group.operator.owner.name, leaders[term].peer.node), "hasty change")

    def _spoil(self) -> None:
        """The victim's data is lost, or bits of it flip; now and then the operator takes it in again."""
        rates, chance, victim = self._rates, self._chance, self._victim.name
        if chance.happens(rates.wipe):
            self._do(Wipe(victim), "wipe")
        if chance.happens(rates.rot):
            self._do(Rot(victim), "rot")
        if chance.happens(rates.restart):
            self._do(Readmit())

    def _decay(self, node: SimNode) -> None:
        """The disk of a node loses something, where the others can do without it."""
        if may_spoil(node, list(self._cluster.nodes.values()), self._cluster.groups):
            self._do(Decay(node.name, kill=self._chance.below(2) == 1), "decay")

    def _cut_off(self) -> None:
        leader = self._cluster.leader(self._chance.choice(self._cluster.groups))
        if leader is not None:
            self._do(Cut(tuple(isolate(self._cluster.names, leader.name)), "one alone"), "cut off")

    def _stop_or_start(self, node: SimNode) -> None:
        if self._chance.happens(self._rates.stop):
            self._do(StopReplica(node.name, self._chance.choice(self._cluster.groups).name), "stopped replica")
        for each in self._cluster.nodes.values():
            if self._chance.happens(self._rates.restart) and each.host is not None and each.host.stopped:
                self._do(StartReplicas(each.name))

    def _some_operator(self) -> str:
        operators = list(self._cluster.operators)
        return self._chance.choice(operators) if len(operators) > 1 else operators[0]

    def _shape(self) -> tuple[str, list[Link]]:
        chance = self._chance
        order = chance.shuffled(self._cluster.names)
        leader = self._cluster.leader()
        if leader is not None and chance.below(2):
            order.remove(leader.name)
            order.insert(0, leader.name)
        match chance.below(6):
            case 0:
                return "one alone", isolate(order, order[0])
            case 1:
                return "halves", halves(order, order[: len(order) // 2])
            case 2:
                return "bridge", bridge(order, order[0])
            case 3:
                return "chain", chain(order)
            case 4:
                return "one way", one_way(order, order[0])
            case _:
                return "one link left", star_only(order, order[0], order[-1])

    def _clog(self) -> None:
        if len(self._cluster.names) > 1:
            source, destination = self._chance.shuffled(self._cluster.names)[:2]
            hold_ms = self._chance.between(1, 10) * self._cluster.election_ms
            self._do(Clog(source, destination, hold_ms), "clog")


def calm_down(cluster: Cluster) -> None:
    """Links and disks work again, pauses and stalls end soon; nodes that are down stay down."""
    for link in cluster.network.cut_links():
        cluster.mend(*link)
    cluster.network.mend_all()
    cluster.network.clear_weather(CALM)
    now_ms = cluster.scheduler.now_ms
    for node in cluster.nodes.values():
        node.disk.faults = DiskFaults()
        node.vault.faults = VaultFaults()
        node.apply_ms = 0
        node.wall_off_ms = 0
        node.owner.paused_until_ms = min(node.owner.paused_until_ms, now_ms)
        node.owner.clock.change_rate(now_ms, 1000)
