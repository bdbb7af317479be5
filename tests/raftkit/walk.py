"""A random walk: replicas in bad weather, then peace. One seed, one walk.

Anything may happen at any time: messages late, twice, in any order or not at all, crashes that lose what was not saved,
slow disks, changes of the configuration, snapshots, clocks that run apart. The cluster checks its invariants after each
step; the walk adds what reads and acknowledgements promise, and that everything ends well when the weather does.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.raftkit.cluster import Cluster, Host
from tests.raftkit.disk import configurations
from zraft.core.chance import Chance
from zraft.core.events import ChangeMembership, Event, ProposeTime, TimePassed, TransferLeadership
from zraft.core.output import Output
from zraft.core.recovered import RaftSettings
from zraft.core.roles import Leader
from zraft.types import Index

NAMES = "abcde"


class Walk:
    """Five replicas, three of which found the group, and a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Chance(seed)
        settings = RaftSettings(
            window_messages=1 + self.chance.below(3),
            append_bytes=(1, 50, 5000)[self.chance.below(3)],
            load_bytes=(1, 50, 5000)[self.chance.below(3)],
            cache_bytes=(0, 800, 5000)[self.chance.below(3)],
            uncommitted_bytes=1000,
            catch_up_ms=2000,
        )
        self.cluster = Cluster(" ".join(NAMES), settings)
        self.cluster.on_step = self._watch
        self.refs = 0
        self.reads: dict[int, Index] = {}
        """Reads under way: ref -> what was committed when it was asked."""
        for host in self.cluster.hosts.values():
            host.disk.tail = self.chance.below(4)
        self.cluster.bootstrap("a", "a b c")
        self.cluster.save("a")
        self.moves = self._weather()

    def _weather(self) -> list[tuple[int, Callable[[], None]]]:
        """Every move with its weight. Each fault has a rate of its own in each walk, some do not happen at all."""
        rate = self.chance.below
        return [
            (60, self._deliver_first),
            (30, self._save),
            (20, self._time),
            (1 + rate(10), self._propose),
            (5, self._read),
            (20, self._loads),
            (5, self._restore),
            (12, self._restart),
            (6, self._heal),
            (rate(20), self._deliver_any),
            (rate(4), self._repeat),
            (rate(4), self._drop),
            (rate(2), self._timeout),
            (rate(3), self._crash),
            (rate(3), self._cut),
            (rate(3), self._isolate_leader),
            (rate(8), self._change),
            (rate(2), self._transfer),
            (rate(5), self._snapshot),
            (rate(3), self._connection),
            (rate(2), self._wipe_learner),
        ]

    def storm(self, steps: int) -> None:
        """So many moves, drawn by weight."""
        total = sum(weight for weight, _ in self.moves)
        for _ in range(steps):
            draw = self.chance.below(total)
            for weight, move in self.moves:
                draw -= weight
                if draw < 0:
                    move()
                    break
            self.cluster.trace = self.cluster.trace[-2000:]

    def calm(self) -> None:
        """Everybody is back and hears everybody: the group elects, commits and agrees within a bound."""
        cluster = self.cluster
        cluster.heal()
        for name, host in cluster.hosts.items():
            if host.raft is None and host.fault is None:
                cluster.start(name)
        cluster.run(12_000)
        leader = cluster.leader()
        assert cluster.propose(leader, 1).accepted, "a settled leader takes proposals"
        cluster.run(3000)
        leader = cluster.leader()
        membership = cluster[leader].membership
        assert membership is not None
        assert membership.is_stable, f"a change never ended: {membership}"
        commits = {each.peer.name: cluster.commits()[each.peer.name] for each in membership.voters}
        assert set(commits.values()) == {cluster[leader].log.last_index}, f"{leader} leads {commits}"
        faults = {name: host.fault for name, host in cluster.hosts.items() if host.fault}
        assert not faults, faults

    def _watch(self, host: Host, event: Event, output: Output) -> None:
        for ready in output.reads_ready:
            committed = self.reads.pop(ready.ref)
            assert ready.index >= committed, f"read #{ready.ref} at {ready.index} misses {committed}"
        for refused in output.refused:
            self.reads.pop(refused.ref, None)
        role = host.up.role
        if type(role) is Leader:
            for member, progress in role.progress.items():
                other = self.cluster.hosts[member.peer.name]
                if other.me == member:
                    durable = max([other.disk.mark.index, *(batch.last for batch in other.disk.batches)])
                    assert progress.match_index <= durable, f"{member} has {durable}, match {progress.match_index}"

    def _host(self) -> str:
        return NAMES[self.chance.below(len(NAMES))]

    def _up(self) -> str | None:
        name = self._host()
        return name if self.cluster.hosts[name].raft is not None else None

    def _ref(self) -> int:
        self.refs += 1
        return self.refs

    def _deliver_any(self) -> None:
        network = self.cluster.network
        if network:
            self.cluster.receive(network.pop(self.chance.below(len(network))))

    def _deliver_first(self) -> None:
        for _ in range(min(len(self.cluster.network), 8)):
            self.cluster.receive(self.cluster.network.pop(0))

    def _repeat(self) -> None:
        if self.cluster.network:
            self.cluster.receive(self.cluster.network[self.chance.below(len(self.cluster.network))])

    def _drop(self) -> None:
        if self.cluster.network:
            self.cluster.network.pop(self.chance.below(len(self.cluster.network)))

    def _save(self) -> None:
        name = self._up()
        if name is not None:
            self.cluster.save(name, 1 + self.chance.below(3))

    def _time(self) -> None:
        """Clocks go on, not all alike; who is due is told, mostly."""
        passed = 1 + self.chance.below(50)
        for name, host in self.cluster.hosts.items():
            host.now += passed + self.chance.below(10)
            if host.raft is not None and host.now >= host.wake_at and self.chance.below(10):
                self.cluster.step(name, TimePassed(), "timeout")

    def _timeout(self) -> None:
        name = self._up()
        if name is not None:
            self.cluster.timeout(name)

    def _leader(self) -> str | None:
        leaders = self.cluster.leaders()
        return leaders[self.chance.below(len(leaders))] if leaders else None

    def _propose(self) -> None:
        name = self._leader()
        if name is not None:
            count = 1 + self.chance.below(3)
            refs = [self._ref() for _ in range(count)]
            self.cluster.propose(name, *refs, count=1 + self.chance.below(4), payload_bytes=4 + self.chance.below(40))
            if self.chance.below(10) == 0:
                self.cluster.step(name, ProposeTime(), "propose time")

    def _read(self) -> None:
        name = self._up()
        if name is not None:
            ref = self._ref()
            self.reads[ref] = max([0, *self.cluster.ghost.committed])
            self.cluster.read(name, ref)

    def _crash(self) -> None:
        name = self._up()
        if name is not None:
            self.cluster.save(name, self.chance.below(3))
            if self.cluster.hosts[name].raft is not None:
                self.cluster.crash(name)

    def _restart(self) -> None:
        name = self._host()
        host = self.cluster.hosts[name]
        if host.raft is not None or host.fault is not None:
            return
        self.cluster.start(name)
        for other, neighbour in self.cluster.hosts.items():
            if neighbour.raft is not None and other != name:
                self.cluster.connection_lost(other, name)
                self.cluster.connection_back(other, name)

    def _cut(self) -> None:
        one, other = self._host(), self._host()
        links = self.cluster.links(one, other)
        self.cluster.cut.update(links[: 1 + self.chance.below(2)])

    def _isolate_leader(self) -> None:
        name = self._leader()
        if name is not None:
            self.cluster.isolate(name)

    def _heal(self) -> None:
        self.cluster.heal()

    def _change(self) -> None:
        name = self._leader()
        target = tuple(host.me for host in self.cluster.hosts.values() if self.chance.below(3))
        if name is not None and len(target) >= 2:
            self.cluster.step(name, ChangeMembership(self._ref(), target), "change")

    def _transfer(self) -> None:
        name = self._leader()
        if name is not None:
            to = self.cluster.hosts[self._host()].me if self.chance.below(2) else None
            self.cluster.step(name, TransferLeadership(self._ref(), to), "transfer")

    def _snapshot(self) -> None:
        name = self._up()
        if name is None:
            return
        raft = self.cluster[name]
        index = min(raft.commit_index, raft.saves.durable_index)
        if index > raft.snapshot.index and raft.log.is_boundary(index):
            self.cluster.snapshot(name, index, self.chance.below(3))

    def _loads(self) -> None:
        for name, host in self.cluster.hosts.items():
            if host.loads:
                self.cluster.answer_loads(name)

    def _restore(self) -> None:
        name = self._up()
        if name is not None and self.cluster.hosts[name].restoring is not None:
            self.cluster.finish_restore(name, ok=self.chance.below(3) > 0)

    def _connection(self) -> None:
        name, other = self._up(), self._host()
        if name is not None and name != other:
            self.cluster.connection_lost(name, other)
            if self.cluster.hosts[name].raft is not None:
                self.cluster.connection_back(name, other)

    def _wipe_learner(self) -> None:
        """A replica that is in nobody's configuration loses its disk and comes back with a new life."""
        name = self._host()
        me = self.cluster.hosts[name].me
        known = [host.disk.mark.membership for host in self.cluster.hosts.values()]
        for host in self.cluster.hosts.values():
            known += [membership for _, membership in configurations(host.disk.journal())]
        if all(host.raft is not None for host in self.cluster.hosts.values()) and not any(
            me in (*membership.everyone(), *membership.target) for membership in known if membership is not None
        ):
            self.cluster.crash(name)
            self.cluster.add(name)
