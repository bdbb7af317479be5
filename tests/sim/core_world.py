"""The core alone in the simulated world: outputs are carried out in the plainest way, with a disk that is a list.

Many times faster than whole nodes, and without their code between a fault of the core and the check that sees it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from zraft.core.entries import Batch, HardState, Kind, Membership, SnapshotMark
from zraft.core.events import (
    Bootstrap,
    ChangeMembership,
    Event,
    Loaded,
    Proposal,
    Propose,
    Read,
    Received,
    Saved,
    SnapshotFailed,
    SnapshotRestored,
    SnapshotTaken,
    TimePassed,
    TransferLeadership,
)
from zraft.core.memberships import decode_membership
from zraft.core.messages import Message
from zraft.core.output import LoadBatches, Output
from zraft.core.raft import Raft
from zraft.core.recovered import RaftSettings, Recovered
from zraft.sim.chance import Chance
from zraft.sim.checks.suite import Checks
from zraft.sim.network import Network, Weather, bridge, chain, halves, isolate, one_way
from zraft.sim.scheduler import Clock, Owner, Scheduler
from zraft.types import GroupId, Member, Millis, PeerId
from zraft.wire.frames import array_of
from zraft.wire.peering import decode_messages, encode_message
from zraft.wire.states import Beside

GROUP = GroupId(b"g" * 16)


@dataclass
class Image:
    """What is durable."""

    hard_state: HardState = field(default_factory=HardState)
    mark: SnapshotMark = field(default_factory=SnapshotMark)
    batches: list[Batch] = field(default_factory=list)

    def apply(self, out: Output) -> None:
        if out.hard_state is not None:
            self.hard_state = out.hard_state
        if out.truncate_from:
            self.batches = [batch for batch in self.batches if batch.first < out.truncate_from]
        if out.reset_to is not None:
            self.batches = []
        self.batches += out.append

    def continue_mark(self) -> None:
        """The log goes on after the snapshot, or is discarded where it does not lead to it."""
        mark = self.mark
        leads = any((batch.last, batch.term) == (mark.index, mark.term) for batch in self.batches)
        follows = self.batches and self.batches[0].first == mark.index + 1
        if mark.index and not leads and not follows:
            self.batches = []
        self.batches = [batch for batch in self.batches if batch.last > mark.index]

    def recovered(self) -> Recovered:
        self.continue_mark()
        return Recovered(
            hard_state=self.hard_state,
            mark=self.mark,
            lasts=[batch.last for batch in self.batches],
            terms=[batch.term for batch in self.batches],
            tail=self.batches[-3:],
            memberships=[
                (batch.first, decode_membership(batch.payload))
                for batch in self.batches
                if batch.kind == Kind.CONFIGURATION
            ],
            time=self.batches[-1].time if self.batches else self.mark.time,
        )


class CoreNode:
    """One Raft object, carried out."""

    def __init__(self, world: CoreWorld, name: str, chance: Chance) -> None:
        self.world, self.chance = world, chance
        self.owner = Owner(name, Clock(rate=chance.between(700, 1400), offset_ms=chance.between(1, 100_000)))
        self.me = Member(PeerId("p", name), chance.bits())
        self.image = Image()
        self.raft: Raft | None = None
        self.sync_ms = 1 + chance.exponential(chance.choice([1, 5, 30]))
        self.saves: deque[Output] = deque()
        self.waiting: deque[tuple[int, list[Message]]] = deque()
        self.completed = self.issued = self.hard_issued = 0
        self.armed_ms: Millis = 0

    def start(self) -> None:
        recovered = self.image.recovered()
        self.saves.clear()
        self.waiting.clear()
        self.completed = self.issued = self.hard_issued = 0
        self.armed_ms = 0
        self.raft = Raft(self.me, self.world.settings, recovered, seed=self.chance.bits(), now=self.now())
        self.world.checks.started(self.raft.replica)
        self.carry(self.raft.start())

    def crash(self) -> None:
        """A prefix of what was under way may have become durable."""
        self.raft = None
        self.owner.end_life()
        self.world.checks.stopped(self.me)
        for out in list(self.saves)[: self.chance.below(len(self.saves) + 1)]:
            self.image.apply(out)

    def now(self) -> Millis:
        return self.owner.clock.reading(self.world.scheduler.now_ms)

    def step(self, event: Event) -> Output | None:
        if self.raft is None:
            return None
        out = self.raft.step(self.now(), event)
        self.world.checks.stepped(self.raft.replica, event, out)
        self.carry(out)
        return out

    def carry(self, out: Output) -> None:
        if out.save:
            self.issued = out.save
            if out.hard_state is not None:
                self.hard_issued = out.save
            self.saves.append(out)
            if len(self.saves) == 1:
                self._begin_save()
        self._send(self.hard_issued, out.send_now)
        self._send(self.issued, out.send_after_save)
        if out.compact_to:
            self.image.batches = [batch for batch in self.image.batches if batch.last > out.compact_to]
        for offer in out.send_snapshot:
            self._send(self.hard_issued, [offer])
        if out.restore is not None:
            self.world.scheduler.after(self.chance.below(100), self._restore, out.restore.mark, owner=self.owner)
        for load in out.load:
            self.world.scheduler.after(self.chance.below(20), self._load, load, owner=self.owner)
        self.world.note(self, out)
        self._arm(out.wake_at_ms)

    def _send(self, number: int, messages: list[Message]) -> None:
        if not messages:
            return
        if number <= self.completed:
            self.world.send(messages)
        else:
            self.waiting.append((number, messages))

    def _begin_save(self) -> None:
        delay = 1 + self.chance.exponential(self.sync_ms)
        self.world.scheduler.after(delay, self._saved, owner=self.owner)

    def _saved(self, _: object) -> None:
        out = self.saves.popleft()
        self.image.apply(out)
        self.completed = out.save
        if self.saves:
            self._begin_save()
        self.step(Saved(out.save))
        ready = [item for item in self.waiting if item[0] <= self.completed]
        self.waiting = deque(item for item in self.waiting if item[0] > self.completed)
        for _, messages in ready:
            self.world.send(messages)

    def _load(self, load: LoadBatches) -> None:
        if self.raft is None:
            return
        found: list[Batch] = []
        size = 0
        for batch in self.image.batches:
            if batch.first >= load.first and batch.last <= load.last and (not found or size < load.limit_bytes):
                found.append(batch)
                size += len(batch.payload)
        if found and found[0].first != load.first:
            found = []
        self.step(Loaded(load.to, load.first, tuple(found)))

    def _restore(self, mark: SnapshotMark) -> None:
        if self.chance.below(4) == 0:
            self.step(SnapshotFailed(mark))
            return
        if mark.index > self.image.mark.index:
            self.image.mark = mark
        self.step(SnapshotRestored(mark))

    def take_snapshot(self) -> None:
        """Of everything committed; some entries stay behind it for slow followers."""
        if self.raft is None or self.raft.commit_index <= self.raft.snapshot.index or self.raft.replica.restoring:
            return
        raft, index = self.raft, self.raft.commit_index
        term = raft.log.term_at(index)
        durable = self.image.batches[-1].last if self.image.batches else self.image.mark.index
        if term is None or durable < index:
            return
        membership_index, membership = raft.memberships.as_of(index)
        mark = SnapshotMark(index, term, raft.time, membership_index, membership)
        self.image.mark = mark
        self.step(SnapshotTaken(mark, max(1, index + 1 - self.chance.below(30))))

    def _arm(self, wake_at_ms: Millis) -> None:
        true_ms = self.owner.clock.when(wake_at_ms)
        if not self.armed_ms or true_ms < self.armed_ms:
            self.armed_ms = true_ms
            self.world.scheduler.at(true_ms, self._wake, true_ms, owner=self.owner)

    def _wake(self, armed_ms: Millis) -> None:
        if armed_ms != self.armed_ms:
            return
        self.armed_ms = 0
        self.step(TimePassed())


class CoreWorld:
    """A few CoreNodes, chaos, and the checks."""

    def __init__(self, seed: int, *, nodes: int = 0) -> None:
        chance = self.chance = Chance(seed)
        self.scheduler = Scheduler(chance.split("scheduler"))
        self.network = Network(self.scheduler, chance.split("network"), self._deliver)
        self.checks = Checks()
        self.settings = RaftSettings(
            election_timeout_ms=100,
            heartbeat_ms=chance.between(10, 30),
            request_timeout_ms=200,
            catch_up_ms=1000,
            append_bytes=chance.choice([1, 30, 1000]),
            window_messages=chance.between(1, 4),
            cache_bytes=chance.choice([1, 2000, 100_000]),
            load_bytes=chance.choice([1, 1000]),
        )
        count = nodes or chance.choice([1, 3, 3, 4, 5])
        names = [f"n{place}:1" for place in range(count)]
        self.nodes = {name: CoreNode(self, name, chance.split(name)) for name in names}
        for node in self.nodes.values():
            self.network.attach(node.owner)
        self.founders = [node.me for node in self.nodes.values()][: chance.between(1, count)]
        self.refs = 0
        self.committed = 0
        self.reads: dict[int, int] = {}

    def send(self, messages: list[Message]) -> None:
        for message in messages:
            self.checks.sent(message)
            frame = array_of([encode_message(GROUP, message)])
            self.network.send(message.sender.peer.node, message.to.peer.node, frame)

    def _deliver(self, source: str, destination: str, frame: bytes) -> None:
        node = self.nodes[destination]
        for _, message in decode_messages(frame, sender_node=source, own_node=destination):
            if not isinstance(message, Beside) and message.to == node.me:
                node.step(Received(message))

    def note(self, node: CoreNode, out: Output) -> None:
        self.committed = max(self.committed, out.commit_to)
        for ready in out.reads_ready:
            floor = self.reads.pop(ready.ref)
            if ready.index < floor:
                raise AssertionError(f"read index {ready.index} below {floor}, committed before the read began")

    def run(self, until_ms: Millis) -> None:
        first = self.nodes[self.founders[0].peer.node]
        for node in self.nodes.values():
            node.start()
        first.step(Bootstrap(Membership(tuple(self.founders))))
        self.scheduler.run_until(1000)
        chance = self.chance
        names = list(self.nodes)
        self.network.weather = Weather(
            delay_ms=chance.between(0, 5),
            jitter_ms=chance.choice([0, 2, 30]),
            loss=chance.choice([0, 10_000, 200_000]),
            duplicate=chance.choice([0, 100_000]),
            replay=chance.choice([0, 50_000]),
            replay_ms=1000,
        )
        crash_rate = chance.choice([0, 3_000, 20_000])
        cut_rate = chance.choice([0, 3_000, 20_000])
        pause_rate = chance.choice([0, 2_000])
        change_rate = chance.choice([0, 5_000, 30_000])
        snapshot_rate = chance.choice([0, 30_000, 200_000])
        while self.scheduler.now_ms < until_ms:
            self.scheduler.run_until(self.scheduler.now_ms + 10)
            self._client(chance, names)
            node = self.nodes[chance.choice(names)]
            if chance.happens(crash_rate) and node.raft is not None:
                node.crash()
            elif node.raft is None and chance.happens(60_000):
                node.start()
            if chance.happens(cut_rate):
                for link in self._shape(chance, names):
                    self.network.cut(*link)
            elif chance.happens(30_000):
                self.network.mend_all()
            if chance.happens(pause_rate):
                node.owner.paused_until_ms = self.scheduler.now_ms + chance.between(50, 1000)
            if chance.happens(snapshot_rate):
                self.nodes[chance.choice(names)].take_snapshot()
            if chance.happens(change_rate):
                self._churn(chance, names)
        self.network.mend_all()
        self.network.weather = Weather()
        for node in self.nodes.values():
            if node.raft is None:
                node.start()
        committed = self.committed
        for _ in range(60):
            self.scheduler.run_until(self.scheduler.now_ms + 100)
            for name in names:
                self._client(chance, [name])
        if self.committed <= committed:
            raise AssertionError(f"no progress after healing: {committed}")

    def _shape(self, chance: Chance, names: list[str]) -> list[tuple[str, str]]:
        order = chance.shuffled(names)
        shapes = [isolate(order, order[0]), halves(order, order[: len(order) // 2]), one_way(order, order[0])]
        if len(order) > 2:
            shapes += [bridge(order, order[0]), chain(order)]
        return chance.choice(shapes)

    def _client(self, chance: Chance, names: list[str]) -> None:
        node = self.nodes[chance.choice(names)]
        self.refs += 1
        if chance.below(3):
            count = chance.between(1, 3)
            node.step(Propose((Proposal(self.refs, count, b"%d %s" % (self.refs, b"x" * chance.between(3, 60))),)))
        else:
            self.reads[self.refs] = self.committed
            node.step(Read(self.refs))

    def _churn(self, chance: Chance, names: list[str]) -> None:
        node = self.nodes[chance.choice(names)]
        self.refs += 1
        if chance.below(3) == 0:
            node.step(TransferLeadership(self.refs, self.nodes[chance.choice(names)].me))
            return
        members = [other.me for other in self.nodes.values()]
        target = chance.sample(members, chance.between(1, len(members)))
        node.step(ChangeMembership(self.refs, tuple(target)))
