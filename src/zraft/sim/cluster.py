"""A simulated cluster: nodes, links, and the groups with their clients and operators, all from one seed."""

from __future__ import annotations

from zraft import limits
from zraft.core.recovered import RaftSettings
from zraft.machine.registry import Backends
from zraft.peer.growth import SnapshotSettings
from zraft.peer.host import HostSettings
from zraft.session.history import HistorySettings
from zraft.sim.chance import MILLION, Chance
from zraft.sim.checks.sessions import SessionChecks
from zraft.sim.checks.suite import Checks
from zraft.sim.clients import ClientSettings, SimClient
from zraft.sim.excerpt import WHOLE, Excerpt
from zraft.sim.groups import AnyClient, SimGroup, group_id
from zraft.sim.network import Network, Weather
from zraft.sim.node import SimNode, World
from zraft.sim.operator import PEER, Operator
from zraft.sim.profiles import Profile
from zraft.sim.scheduler import Clock, Scheduler
from zraft.sim.session_clients import SessionClient
from zraft.sim.speech import SPEECHES
from zraft.sim.stream_clients import SimStream
from zraft.sim.trace import Trace
from zraft.sim.trials.clients import TrialClient, TrialSettings
from zraft.sim.trials.examination import Examination
from zraft.sim.trials.trial import Trial, TrialBackends
from zraft.sim.versions import Kinds, draw_lacking
from zraft.storage.store import StoreSettings
from zraft.types import Millis, PeerId


class Cluster:
    """Everything of one run but its course. `names` are the nodes, in order."""

    def __init__(
        self,
        seed: int,
        profile: Profile,
        *,
        keep_trace: bool = False,
        trial: Trial | None = None,
        excerpt: Excerpt = WHOLE,
    ) -> None:
        """With a `trial`, whose name the profile has for its backend, the clients are those of the trial."""
        self._profile, self._trial, self._excerpt = profile, trial, excerpt
        chance = self._chance = Chance(seed).split(profile.name)
        self.scheduler = Scheduler(chance.split("scheduler"))
        self.trace = Trace(self.scheduler, keep=keep_trace)
        self._named = [PEER, *(f"{PEER}{number}" for number in range(1, profile.groups))]
        backends = TrialBackends(trial) if trial is not None else Backends()
        checks = {name: Checks(profile.backend, backends) for name in self._named}
        self.examination = Examination(trial, checks[PEER].ledger, self.trace) if trial is not None else None
        self.network = Network(self.scheduler, chance.split("network"), self._deliver)
        self.network.weather = Weather()
        self.election_ms: Millis = 100 * chance.between(1, 5)
        settings = HostSettings(
            raft=self._raft_settings(chance),
            store=self._store_settings(chance),
            snapshots=self._snapshot_settings(chance.split("snapshots")),
            history=self._history_settings(chance.split("history")),
            alarm_entries=chance.split("alarm").choice([1, 5, 32]),
        )
        image_rate = chance.choice([0, 2_000, 20_000])
        look = self.examination.look if self.examination is not None else None
        world = World(self.scheduler, self.network, checks, self.trace, settings, image_rate, {}, backends, look)
        count = min(chance.choice(profile.nodes), limits.SIMULATED_NODES)
        clocks = {f"n{place}:1": self._clock(chance, profile) for place in range(count)}
        self.names = list(clocks)[: excerpt.nodes or count]
        self.nodes = {name: SimNode(name, world, chance.split(name), clocks[name]) for name in self.names}
        for node in self.nodes.values():
            node.on_change = self._node_changed
            node.on_wipe = self._node_wiped
        self.groups = [self._make_group(chance, number, checks[name]) for number, name in enumerate(self._named)]
        self.clients = {name: client for group in self.groups for name, client in group.clients.items()}
        self.operators = {group.operator.owner.name: group.operator for group in self.groups}
        self.session_checks = SessionChecks(
            [f"s{number}" for number in range(profile.sessions)],
            lambda: self.scheduler.now_ms,
            keeps_time=not profile.skewed,
        )
        self.session_clients = self._make_session_clients(chance.split("sessions"))
        self.counts: dict[str, int] = {}
        """What it is made of besides, and what was done to it after the chaos, by kind."""
        if profile.mixed and count > 1:
            self._make_older(draw_lacking(self.names, chance.split("versions")))

    def _make_older(self, lacking: dict[str, Kinds]) -> None:
        for name, kinds in lacking.items():
            self.nodes[name].lacks = kinds
            self.trace.note(name, f"does not know {', '.join(kind.__name__ for kind in kinds)}")
        self.counts["older node"] = len(lacking)

    @property
    def checks(self) -> Checks:
        """Of the first group."""
        return self.groups[0].checks

    @property
    def operator(self) -> Operator:
        """Of the first group."""
        return self.groups[0].operator

    def _raft_settings(self, chance: Chance) -> RaftSettings:
        election_ms = self.election_ms
        append_bytes = chance.choice(self._profile.append_bytes)
        return RaftSettings(
            election_timeout_ms=election_ms,
            heartbeat_ms=max(5, election_ms // chance.between(4, 10)),
            request_timeout_ms=election_ms * chance.between(1, 4),
            catch_up_ms=10 * election_ms,
            append_bytes=append_bytes,
            window_messages=chance.between(1, limits.WINDOW_MESSAGES),
            uncommitted_bytes=chance.choice([200, limits.UNCOMMITTED_BYTES]),
            cache_bytes=chance.choice([1, 1000, limits.LOG_CACHE_BYTES]),
            load_bytes=chance.choice([1, append_bytes, 4 * append_bytes]),
            quiet_beats=chance.split("quiet").choice(self._profile.quiet_beats),
        )

    def _store_settings(self, chance: Chance) -> StoreSettings:
        return StoreSettings(segment_bytes=chance.choice([limits.MIN_SEGMENT_BYTES, 4 * limits.MIN_SEGMENT_BYTES]))

    def _snapshot_settings(self, chance: Chance) -> SnapshotSettings:
        """Snapshots every few entries, or few hundred bytes; or so rarely that there are none."""
        count = chance.choice(self._profile.max_log_count)
        if self._excerpt.log_count:
            return SnapshotSettings(max_log_count=self._excerpt.log_count, trailing_log_count=0)
        return SnapshotSettings(
            max_log_count=count,
            max_log_bytes=chance.choice([2_000, 64 * limits.MIB, 64 * limits.MIB]) if count < 1000 else limits.MIB,
            trailing_log_count=chance.choice([0, count // 5, count // 2]),
            retry_ms=chance.choice([10, 100, 1000]),
            offer_ms=self.election_ms * chance.choice([5, 50, 500]),
        )

    def _history_settings(self, chance: Chance) -> HistorySettings:
        """Where there are streams, so little that they lag behind it now and then."""
        few = HistorySettings(changes=chance.choice([32, 200]), bytes=chance.choice([2_000, limits.HISTORY_BYTES]))
        return few if self._profile.streams else HistorySettings()

    def _clock(self, chance: Chance, profile: Profile) -> Clock:
        low, high = profile.skew
        rate = chance.between(low, high) if chance.below(100) < profile.skewed else chance.between(990, 1010)
        return Clock(1000 if self._excerpt.has_even_clocks else rate, chance.between(1, 1_000_000))

    def _make_group(self, chance: Chance, number: int, checks: Checks) -> SimGroup:
        profile, name, group = self._profile, self._named[number], group_id(number)
        if number:
            chance = chance.split(name)
        founders = self._founders(chance, profile)
        operator = Operator(
            self.scheduler,
            self.network,
            chance.split("operator"),
            group,
            self.names,
            founders,
            peer=name,
            backend=profile.backend,
        )
        return SimGroup(name, group, checks, operator, self._make_clients(chance, profile, number))

    def _founders(self, chance: Chance, profile: Profile) -> int:
        count = len(self.names)
        return chance.between(1, count) if "churn" not in profile.never else count

    def _make_clients(self, chance: Chance, profile: Profile, number: int) -> dict[str, AnyClient]:
        """Those of further groups think so long that the group may go quiet between two operations."""
        if self._trial is not None and self.examination is not None:
            return self._make_trial_clients(chance, self._trial, self.examination)
        settings = ClientSettings(
            keys=[f"k{number}" for number in range(chance.between(*profile.keys))],
            reads=chance.between(*profile.reads),
            timeout_ms=self.election_ms * chance.between(*profile.patience),
            think_ms=chance.choice(profile.think_ms) if not number else self.election_ms * chance.between(1, 20),
            speech=SPEECHES[profile.backend],
            strays=profile.strays,
            stray_reads=profile.stray_reads,
            value_bytes=profile.value_bytes,
            asks=self._excerpt.asks,
        )
        peers = [PeerId(self._named[number], name) for name in self.names]
        suffix = f"/{number}" if number else ""
        names = [f"c{place}{suffix}" for place in range(chance.between(*profile.clients) if not number else 1)]
        return {
            name: SimClient(
                name, self.scheduler, self.network, chance.split(name), settings, peers, self._moment, self.trace
            )
            for name in names
        }

    def _make_trial_clients(self, chance: Chance, trial: Trial, examination: Examination) -> dict[str, AnyClient]:
        profile, peers = self._profile, [PeerId(PEER, name) for name in self.names]
        settings = TrialSettings(
            timeout_ms=self.election_ms * chance.between(*profile.patience),
            think_ms=chance.choice(profile.think_ms),
            strays=profile.strays,
            asks=self._excerpt.asks,
        )
        names = [f"c{place}" for place in range(chance.between(*profile.clients))]
        return {
            name: TrialClient(
                name,
                self.scheduler,
                self.network,
                chance.split(name),
                settings,
                peers,
                trial,
                examination,
                self.trace,
            )
            for name in names
        }

    def _make_session_clients(self, chance: Chance) -> dict[str, SessionClient]:
        checks, peers = self.session_checks, [PeerId(PEER, name) for name in self.names]
        for node in self.nodes.values() if checks.names else ():
            node.on_turn = self._look_at_sessions
        return {
            name: SessionClient(
                name,
                self.scheduler,
                self.network,
                chance.split(name),
                peers,
                checks,
                self.election_ms * chance.between(4, 12),
                falls_silent=chance.below(3) == 0,
                restarts=self._profile.restarts,
                stream=self._make_stream(chance.split(f"stream of {name}"), name),
            )
            for name in checks.names
        }

    def _make_stream(self, chance: Chance, name: str) -> SimStream | None:
        checks = self.session_checks
        return SimStream(name, chance, checks.streams, checks.names) if self._profile.streams else None

    def _look_at_sessions(self, node: SimNode) -> None:
        peer = node.host.peers.get(PEER) if node.host is not None else None
        if peer is not None and peer.machine.is_between_batches:
            self.session_checks.looked(node.name, peer.machine)
            self.session_checks.streams.looked(peer.keeper.streams.everything(), peer.machine)

    def _moment(self) -> int:
        return self.scheduler.performed

    def leader(self, group: SimGroup | None = None) -> SimNode | None:
        """The node that leads the largest term so far, where it still thinks so. `group` None: of the first one."""
        checks = self.checks if group is None else group.checks
        leaders = checks.ledger.leader_of
        if not leaders:
            return None
        member = leaders[max(leaders)]
        return self.nodes[member.peer.node] if checks.ledger.node(member).is_leader else None

    # -- links

    def _deliver(self, source: str, destination: str, frame: bytes) -> None:
        self.trace.frame(source, destination, frame)
        node = self.nodes.get(destination)
        if node is not None:
            node.receive(source, frame, is_peer=source in self.nodes)
        elif destination in self.operators:
            self.operators[destination].receive(frame)
        elif destination in self.session_clients:
            self.session_clients[destination].receive(frame)
        else:
            self.clients[destination].receive(frame)

    def cut(self, source: str, destination: str) -> None:
        """Nothing gets from `source` to `destination`. Either end may notice, sooner or later or never."""
        self.network.cut(source, destination)
        for one, other in ((source, destination), (destination, source)):
            if self._chance.happens(MILLION // 4):
                delay_ms = self._chance.below(4 * self.election_ms)
                self.scheduler.after(delay_ms, self._notice, (one, other))

    def mend(self, source: str, destination: str) -> None:
        """The link carries again."""
        self.network.mend(source, destination)
        for one, other in ((source, destination), (destination, source)):
            self.scheduler.after(self._chance.below(self.election_ms), self._notice, (one, other))

    def _node_changed(self, changed: SimNode) -> None:
        """A process that ends or begins is noticed by most others: their connections break, or are made again."""
        for name in self.names:
            if name != changed.name and not self._chance.happens(MILLION // 8):
                self.scheduler.after(self._chance.below(20), self._notice, (name, changed.name))

    def _node_wiped(self, node: SimNode) -> None:
        for group in self.groups:
            group.operator.replace(node.name)

    def _notice(self, ends: tuple[str, str]) -> None:
        name, other = ends
        links = ((name, other), (other, name))
        if self.nodes[other].is_up and not any(self.network.is_cut(*link) for link in links):
            self.nodes[name].node_back(other)
        else:
            self.nodes[name].node_lost(other)
