"""Several cores that talk through a network which the test controls: no clock, no chance, nothing happens by itself.

Messages wait in `network` until they are delivered, saves until they are completed, and time stands still until it is
moved; `stabilise` and `run` do all of that for those who want it. After every step the invariants of the replica and of
the whole are checked. What happens is written into `trace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tests.raftkit.disk import Disk
from tests.raftkit.ghost import Ghost
from zraft.core import invariants
from zraft.core.entries import Batch, HardState, Kind, Membership, SnapshotMark
from zraft.core.events import (
    Bootstrap,
    Event,
    Loaded,
    NodeBack,
    NodeLost,
    NodeSilent,
    Proposal,
    Propose,
    Read,
    Received,
    Saved,
    SnapshotFailed,
    SnapshotRestored,
    SnapshotTaken,
    TimePassed,
)
from zraft.core.memberships import encode_membership
from zraft.core.messages import InstallSnapshot, Message
from zraft.core.output import LoadBatches, Output, RoleName
from zraft.core.raft import Raft
from zraft.core.recovered import RaftSettings
from zraft.core.roles import NEVER, Leader
from zraft.core.text import output_lines
from zraft.errors import ReplicaFault
from zraft.types import Index, Member, Millis, PeerId, Term

SETTLE_STEPS: Final = 20_000
"""More steps than any conversation needs: without an end to it, two replicas answer each other for ever."""


def member(name: str, life: int = 1) -> Member:
    """The replica `name`, in its `life`th life, on the node of the same name."""
    return Member(PeerId(name, f"{name}:1"), life)


class Host:
    """One replica with its disk; `raft` is None while it is down."""

    def __init__(self, me: Member, seed: int) -> None:
        self.me = me
        self.disk = Disk()
        self.raft: Raft | None = None
        self.now: Millis = 0
        self.wake_at: Millis = 0
        self.seed = seed
        self.hard_issued = self.issued = 0
        self.held: list[tuple[int, Message]] = []
        self.loads: list[LoadBatches] = []
        self.restoring: InstallSnapshot | None = None
        self.fault: str | None = None
        self.last = Output()
        """What the last step wanted."""

    @property
    def up(self) -> Raft:
        """The running replica."""
        assert self.raft is not None, f"{self.me} is down"
        return self.raft


class Cluster:
    """Replicas by name, the messages under way, and the links that are cut."""

    def __init__(self, names: str = "", settings: RaftSettings | None = None) -> None:
        self.settings = settings if settings is not None else RaftSettings()
        self.hosts: dict[str, Host] = {}
        self.network: list[Message] = []
        self.cut: set[tuple[str, str]] = set()
        self.ghost = Ghost()
        self.trace: list[str] = []
        self.is_fetching_slow = False
        """While set, snapshots are fetched by `finish_restore` only."""
        self.on_step: Callable[[Host, Event, Output], None] | None = None
        for name in names.split():
            self.add(name)

    def __getitem__(self, name: str) -> Raft:
        return self.hosts[name].up

    # Lives

    def add(self, name: str, terms: Iterable[Term] = (), voters: str = "", *, term: Term = 0) -> None:
        """A replica, blank, or with a log of single entries of `terms`, the first a configuration of `voters`."""
        life = self.hosts[name].me.incarnation + 1 if name in self.hosts else 1
        host = Host(member(name, life), len(self.hosts) + 1)
        if name in self.hosts:
            host.now = self.hosts[name].now
        self.hosts[name] = host
        batches = log_of(terms, Membership(tuple(member(voter) for voter in voters.split())))
        host.disk.batches = batches
        host.disk.hard_state = HardState(max([term, *(batch.term for batch in batches)]))
        self.start(name)

    def start(self, name: str) -> None:
        """The replica starts from what its disk holds."""
        host = self.hosts[name]
        host.seed += 100
        host.hard_issued = host.issued = 0
        host.raft = Raft(host.me, self.settings, host.disk.recover(), seed=host.seed, now=host.now)
        self.ghost.restarted(host.raft)
        self._carry_out(host, host.raft.start())
        self.trace.append(f"{name} starts")

    def crash(self, name: str) -> None:
        """The process ends: saves under way, messages held, everything in memory are lost."""
        host = self.hosts[name]
        host.raft = host.restoring = None
        host.disk.crash()
        host.held.clear()
        host.loads.clear()

    def restart(self, name: str) -> None:
        """Crash, and start again."""
        self.crash(name)
        self.start(name)

    # Steps

    def step(self, name: str, event: Event, label: str) -> Output:
        """Let `event` happen at replica `name`; a fault stops it, and its output is empty."""
        host = self.hosts[name]
        self.trace.append(f"{name} < {label}")
        try:
            output = host.up.step(host.now, event)
        except ReplicaFault as fault:
            self.trace.append(f"  stops: {fault}")
            self.crash(name)
            host.fault = str(fault)
            return Output()
        self.trace += [f"  {line}" for line in output_lines(output)]
        self._carry_out(host, output)
        if self.on_step is not None:
            self.on_step(host, event, output)
        raft = host.up
        invariants.check_all(raft.replica)
        reset_to = output.reset_to.index if output.reset_to is not None else 0
        self.ghost.stepped(raft, host.disk.journal(), reset_to=reset_to)
        if output.compact_to:
            host.disk.compact_to(output.compact_to)
        return output

    def _carry_out(self, host: Host, output: Output) -> None:
        host.last = output
        if output.save:
            assert output.save == host.issued + 1, "saves are numbered without a gap"
            host.issued = output.save
            if output.hard_state is not None:
                host.hard_issued = output.save
            host.disk.issue(output)
        for message in output.send_now:
            self._send(host, host.hard_issued, message)
        for message in output.send_after_save:
            self._send(host, host.issued, message)
        host.loads += output.load
        self.network += output.send_snapshot
        if output.restore is not None:
            host.restoring = output.restore
        host.wake_at = output.wake_at_ms

    def _send(self, host: Host, after_save: int, message: Message) -> None:
        if after_save <= host.disk.completed:
            self.network.append(message)
        else:
            host.held.append((after_save, message))

    def save(self, name: str, count: int = 1 << 30) -> None:
        """The disk completes its `count` oldest saves: all unless said otherwise."""
        host = self.hosts[name]
        while host.raft is not None and host.disk.pending and count > 0:
            number = host.disk.complete_one()
            self.network += [message for after, message in host.held if after <= number]
            host.held = [(after, message) for after, message in host.held if after > number]
            self.step(name, Saved(number), f"saved {number}")
            count -= 1

    def answer_loads(self, name: str) -> None:
        """The journal gives what was asked for."""
        host = self.hosts[name]
        while host.loads:
            load = host.loads.pop(0)
            batches = host.disk.load(load.first, load.last, load.limit_bytes)
            last = batches[-1].last if batches else "nothing"
            self.step(name, Loaded(load.to, load.first, batches), f"loaded {load.first}..{last}")

    def finish_restore(self, name: str, *, ok: bool = True) -> None:
        """The snapshot that the replica fetches is durable and installed, or could not be fetched."""
        host = self.hosts[name]
        assert host.restoring is not None, f"{name} restores nothing"
        mark, host.restoring = host.restoring.mark, None
        if not ok:
            self.step(name, SnapshotFailed(mark), f"failed to fetch snapshot {mark.index}")
            return
        if mark.index > host.disk.mark.index:
            host.disk.mark = mark
        self.step(name, SnapshotRestored(mark), f"restored snapshot {mark.index}")

    # The network

    def links(self, one: str, other: str) -> list[tuple[str, str]]:
        """Both directions."""
        return [(one, other), (other, one)]

    def isolate(self, *names: str) -> None:
        """Cut every link between these and all others."""
        for name in names:
            for other in self.hosts:
                if other not in names:
                    self.cut.update(self.links(name, other))

    def heal(self) -> None:
        """No link is cut any more."""
        self.cut.clear()

    def connection_lost(self, name: str, other: str) -> None:
        """`name` learns that its connection to the node of `other` broke; what was under way on it is gone."""
        self.drop(name, other)
        self.step(name, NodeLost(f"{other}:1"), f"node {other} lost")

    def connection_back(self, name: str, other: str) -> None:
        """`name` learns that the node of `other` can be reached again."""
        self.step(name, NodeBack(f"{other}:1"), f"node {other} back")

    def under_way(self, sender: str = "", to: str = "", kind: str = "") -> list[Message]:
        """The messages from `sender` to `to` of type `kind` (empty: any), oldest first."""
        return [
            message
            for message in self.network
            if sender in ("", message.sender.peer.name)
            and to in ("", message.to.peer.name)
            and kind in ("", type(message).__name__)
        ]

    def drop(self, sender: str = "", to: str = "", kind: str = "") -> int:
        """Lose those messages. Returns how many."""
        lost = self.under_way(sender, to, kind)
        self.network = [message for message in self.network if not any(message is each for each in lost)]
        return len(lost)

    def deliver(
        self, sender: str = "", to: str = "", kind: str = "", *, count: int = 1 << 30, copy: bool = False
    ) -> int:
        """Deliver those messages that are under way now, oldest first; `copy` leaves them there. Returns how many."""
        chosen = self.under_way(sender, to, kind)[:count]
        for message in chosen:
            if not copy:
                position = next(at for at, each in enumerate(self.network) if each is message)
                del self.network[position]
            self.receive(message)
        return len(chosen)

    def receive(self, message: Message) -> None:
        """`message` reaches its addressee, unless that is down or the link is cut."""
        sender, to = message.sender.peer.name, message.to.peer.name
        host = self.hosts.get(to)
        if host is None or host.raft is None or (sender, to) in self.cut:
            self.trace.append(f"{to} misses {type(message).__name__} from {sender}")
            return
        self.step(to, Received(message), f"{type(message).__name__} from {sender}")

    def node_silent(self, name: str, other: str, since: Millis = 0) -> None:
        """`name` learns that the node of `other` is silent, and was last heard `since` ms ago."""
        self.step(name, NodeSilent(f"{other}:1", self.hosts[name].now - since), f"node {other} silent")

    # Time

    def time(self, name: str, passed: Millis) -> None:
        """The clock of `name` moves on by `passed`, and it is told."""
        host = self.hosts[name]
        host.now += passed
        self.step(name, TimePassed(), f"{passed} ms passed")

    def timeout(self, name: str) -> None:
        """The clock of `name` moves on to the moment at which it wants to be woken."""
        host = self.hosts[name]
        assert host.wake_at < NEVER, f"{name} is quiet: nothing is due there"
        host.now = max(host.now, host.wake_at)
        self.step(name, TimePassed(), "timeout")

    def stabilise(self) -> None:
        """Everything that is under way happens, until nothing is left. Time stands still."""
        for _ in range(SETTLE_STEPS):
            if not self._settle_once():
                return
        raise AssertionError("the replicas do not settle")

    def _settle_once(self) -> bool:
        busy = bool(self.network)
        if self.network:
            self.receive(self.network.pop(0))
        for name, host in self.hosts.items():
            if host.raft is not None and (host.disk.pending or host.loads or self._may_restore(host)):
                busy = True
                self.save(name)
                self._catch_up_disk(name, host)
        return busy

    def _catch_up_disk(self, name: str, host: Host) -> None:
        self.answer_loads(name)
        if self._may_restore(host):
            self.finish_restore(name)

    def _may_restore(self, host: Host) -> bool:
        return host.restoring is not None and not self.is_fetching_slow

    def run(self, passed: Millis, *, without: str = "") -> None:
        """`passed` ms pass for everybody in small steps; everything under way happens at once.

        The clocks of `without` move too, but those replicas are told nothing: paused.
        """
        for _ in range(0, passed, 10):
            for name, host in self.hosts.items():
                host.now += 10
                if host.raft is not None and host.now >= host.wake_at and name not in without.split():
                    self.step(name, TimePassed(), "timeout")
            self.stabilise()

    # Work

    def bootstrap(self, name: str, voters: str) -> None:
        """`name` founds a group of `voters`."""
        self.step(name, Bootstrap(Membership(self.members(voters))), f"bootstrap {voters}")

    def members(self, names: str) -> tuple[Member, ...]:
        """The present lives of these replicas."""
        return tuple(self.hosts[name].me for name in names.split())

    def elect(self, name: str) -> None:
        """`name` times out and wins, if it can; everybody hears of it."""
        for host in self.hosts.values():
            host.now += 2 * self.settings.election_timeout_ms
        self.timeout(name)
        self.stabilise()

    def win(self, name: str, *voters: str) -> None:
        """`name` times out and wins with these votes. Nothing else happens: its no-op is not saved, and under way."""
        for each in (name, *voters):
            self.hosts[each].now += 2 * self.settings.election_timeout_ms
        self.timeout(name)
        for kind in ("PreVote", "RequestVote"):
            self.save(name)
            for voter in voters:
                self.deliver(name, voter, kind)
                self.save(voter)
                self.deliver(voter, name)
        assert self.role(name) is RoleName.LEADER, f"{name} is {self.role(name)}"

    def propose(self, name: str, *refs: int, count: int = 1, payload_bytes: int = 8) -> Output:
        """One proposal of `count` commands per ref."""
        proposals = tuple(Proposal(ref, count, f"#{ref} ".encode().ljust(payload_bytes, b".")) for ref in refs)
        return self.step(name, Propose(proposals), f"propose {' '.join(f'#{ref}' for ref in refs)}")

    def read(self, name: str, ref: int) -> Output:
        """Ask for a read index."""
        return self.step(name, Read(ref), f"read #{ref}")

    def snapshot(self, name: str, index: Index = 0, keep: int = 0) -> SnapshotMark:
        """`name` has a durable snapshot at `index` (0: the commit index) and keeps `keep` batches before its end."""
        host = self.hosts[name]
        raft = host.up
        index = index or raft.commit_index
        term = raft.log.term_at(index)
        assert term is not None
        membership_index, membership = raft.memberships.as_of(index)
        mark = SnapshotMark(index, term, raft.time, membership_index, membership)
        host.disk.mark = mark
        self.step(name, SnapshotTaken(mark, index + 1 - keep), f"snapshot {index}")
        return mark

    # Views

    def leaders(self) -> list[str]:
        """Who leads, as far as they know."""
        return [name for name, host in self.hosts.items() if host.raft is not None and type(host.raft.role) is Leader]

    def leader(self) -> str:
        """The leader of the largest term. Raises AssertionError where nobody leads."""
        leaders = sorted(self.leaders(), key=lambda name: self[name].current_term)
        assert leaders, "nobody leads"
        return leaders[-1]

    def terms(self, name: str) -> list[Term]:
        """The term of every entry of the log, from the first that it still has."""
        log = self[name].log
        return [log.term_at(index) or 0 for index in range(log.base_index + 1, log.last_index + 1)]

    def commits(self) -> dict[str, Index]:
        """The commit index of everybody who is up."""
        return {name: host.raft.commit_index for name, host in self.hosts.items() if host.raft is not None}

    def as_leader(self, name: str) -> Leader:
        """The role of `name`, which leads."""
        role = self[name].role
        assert isinstance(role, Leader), f"{name} is {self[name].role_name}"
        return role

    def role(self, name: str) -> RoleName:
        """The role of `name` as users see it."""
        return self[name].role_name


def log_of(terms: Iterable[Term], membership: Membership) -> list[Batch]:
    """Single entries of these terms: the first is `membership`, the others are commands named by index and term."""
    batches = []
    for index, term in enumerate(terms, 1):
        if index == 1:
            batches.append(Batch(1, 1, term, 0, 0, Kind.CONFIGURATION, encode_membership(membership)))
        else:
            batches.append(Batch(index, 1, term, index, 0, Kind.COMMANDS, f"{index}/{term}".encode()))
    return batches


def led_cluster(names: str = "a b c", settings: RaftSettings | None = None) -> Cluster:
    """A group of all these; the first one leads term 2 and everybody has and committed (1,1) and (2,2)."""
    cluster = Cluster(names, settings)
    leader = names.split(maxsplit=1)[0]
    cluster.bootstrap(leader, names)
    cluster.stabilise()
    cluster.elect(leader)
    cluster.timeout(leader)
    cluster.stabilise()
    assert set(cluster.commits().values()) == {2}
    return cluster
