"""What chaos does: one fault as a value that can be performed again in another run, and said in words.

`Chaos` decides and records; a run that follows such a record performs the same acts at the same ticks, or some of them.
An act says everything itself: performing it draws nothing. Where it would break what a run relies on (`atlas`), it is
not performed, since the faults that made room for it may have been left out.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec

from zraft.sim.atlas import may_spoil
from zraft.sim.cluster import Cluster
from zraft.sim.network import Link, isolate
from zraft.types import Millis


class Crash(msgspec.Struct, frozen=True):
    """A node is killed, or loses its power, which also happens to one that is down."""

    node: str
    power_loss: bool


class Blackout(msgspec.Struct, frozen=True):
    """Every node loses its power."""


class Restart(msgspec.Struct, frozen=True):
    """A node that is down starts."""

    node: str


class Cut(msgspec.Struct, frozen=True):
    """Links carry nothing any more."""

    links: tuple[Link, ...]
    shape: str


class Heal(msgspec.Struct, frozen=True):
    """Every link carries again."""


class Clog(msgspec.Struct, frozen=True):
    """A link holds what it carries."""

    source: str
    destination: str
    hold_ms: Millis


class Pause(msgspec.Struct, frozen=True):
    """A process stands still, its clock goes on."""

    node: str
    pause_ms: Millis


class Stall(msgspec.Struct, frozen=True):
    """A disk takes what it is given and ends no sync."""

    node: str
    stall_ms: Millis


class Change(msgspec.Struct, frozen=True):
    """The operator asks for other members."""

    operator: str


class HastyChange(msgspec.Struct, frozen=True):
    """The operator asks a new leader for other members at once."""

    operator: str
    node: str


class Move(msgspec.Struct, frozen=True):
    """The operator asks for another leader."""

    operator: str


class StopReplica(msgspec.Struct, frozen=True):
    """One replica of a node is told to stop."""

    node: str
    replica: str


class StartReplicas(msgspec.Struct, frozen=True):
    """Those of a node that were told to stop run again."""

    node: str


class JumpWall(msgspec.Struct, frozen=True):
    """A wall clock is wrong from now on."""

    node: str
    off_ms: Millis


class Drift(msgspec.Struct, frozen=True):
    """A clock runs at another rate, in thousandths."""

    node: str
    rate: int


class Nap(msgspec.Struct, frozen=True):
    """A quiet leader is cut off, and all clocks run at these rates."""

    node: str
    rates: tuple[tuple[str, int], ...]


class Wipe(msgspec.Struct, frozen=True):
    """A node gets an empty disk."""

    node: str


class Rot(msgspec.Struct, frozen=True):
    """Bits flip on a disk."""

    node: str


class Readmit(msgspec.Struct, frozen=True):
    """The operators take in again who lost its data."""


class Decay(msgspec.Struct, frozen=True):
    """A disk loses something, where the others can do without it; its node may be killed with that."""

    node: str
    kill: bool


Act: TypeAlias = (
    Crash
    | Blackout
    | Restart
    | Cut
    | Heal
    | Clog
    | Pause
    | Stall
    | Change
    | HastyChange
    | Move
    | StopReplica
    | StartReplicas
    | JumpWall
    | Drift
    | Nap
    | Wipe
    | Rot
    | Readmit
    | Decay
)


class Fault(msgspec.Struct, frozen=True):
    """An act of one run: numbered from 1, at which tick, and the names under which it is counted."""

    number: int
    tick: int
    act: Act
    kinds: tuple[str, ...] = ()


def perform(cluster: Cluster, act: Act) -> None:
    """It happens now. What names a node that this run does not have does not."""
    match act:
        case Blackout() | Heal() | Readmit():
            _perform_on_all(cluster, act)
        case Cut(links):
            for link in links:
                if link[0] in cluster.nodes and link[1] in cluster.nodes:
                    cluster.cut(*link)
        case Clog(source, destination, hold_ms):
            if source in cluster.nodes and destination in cluster.nodes:
                cluster.network.clog(source, destination, cluster.scheduler.now_ms + hold_ms)
        case Change(name):
            cluster.operators[name].change()
        case Move(name):
            cluster.operators[name].transfer()
        case HastyChange(name, node):
            if node in cluster.nodes:
                cluster.operators[name].change_at_once(node)
        case _:
            if act.node in cluster.nodes:
                _perform_on_node(cluster, act)


def _perform_on_all(cluster: Cluster, act: Blackout | Heal | Readmit) -> None:
    match act:
        case Blackout():
            for name in cluster.nodes:
                _perform_on_node(cluster, Crash(name, power_loss=True))
        case Heal():
            for link in cluster.network.cut_links():
                cluster.mend(*link)
        case Readmit():
            for operator in cluster.operators.values():
                operator.readmit()
        case _:
            assert_never(act)


_OfNode: TypeAlias = (
    Crash | Restart | Pause | Stall | StopReplica | StartReplicas | JumpWall | Drift | Nap | Wipe | Rot | Decay
)


def _perform_on_node(cluster: Cluster, act: _OfNode) -> None:
    node, now_ms = cluster.nodes[act.node], cluster.scheduler.now_ms
    match act:
        case Crash(power_loss=power_loss):
            if node.is_up:
                node.crash(power_loss=power_loss)
            elif power_loss:
                node.lose_power_while_down()
        case Restart():
            if node.host is None:
                node.start()
        case Pause(pause_ms=pause_ms):
            node.owner.paused_until_ms = now_ms + pause_ms
        case Stall(stall_ms=stall_ms):
            node.disk.faults.stalled_until_ms = now_ms + stall_ms
        case StopReplica(replica=replica):
            node.stop_replica(replica)
        case StartReplicas():
            node.start_replicas()
        case JumpWall(off_ms=off_ms):
            node.wall_off_ms = off_ms
        case Drift(rate=rate):
            node.owner.clock.change_rate(now_ms, rate)
        case Nap(rates=rates):
            for name, rate in rates:
                if name in cluster.nodes:
                    cluster.nodes[name].owner.clock.change_rate(now_ms, rate)
            for link in isolate(cluster.names, act.node):
                cluster.network.cut(*link)
        case Wipe():
            node.wipe()
        case Rot():
            node.rot()
        case Decay(kill=kill):
            if may_spoil(node, list(cluster.nodes.values()), cluster.groups):
                node.decay()
                if kill:
                    node.crash(power_loss=False)
        case _:
            assert_never(act)


def told(act: Act) -> str:
    """The act in words; "" where the node that it happens to says so itself."""
    match act:
        case Crash() | Blackout() | Restart() | StopReplica() | StartReplicas() | Wipe() | Rot() | Decay():
            return ""
        case Cut(links, shape):
            return f"links are cut ({shape}): {', '.join(f'{one} to {other}' for one, other in links)}"
        case Heal():
            return "every link carries again"
        case Clog(source, destination, hold_ms):
            return f"the link {source} to {destination} holds everything for {hold_ms} ms"
        case Pause(node, pause_ms):
            return f"{node} stands still for {pause_ms} ms"
        case Stall(node, stall_ms):
            return f"the disk of {node} stands still for {stall_ms} ms"
        case Change():
            return "other members are asked for"
        case HastyChange(_, node):
            return f"{node} is asked for other members at once"
        case Move():
            return "another leader is asked for"
        case JumpWall(node, off_ms):
            return f"the wall clock of {node} is wrong by {off_ms} ms"
        case Drift(node, rate):
            return f"the clock of {node} runs at {rate} thousandths"
        case Nap(node):
            return f"{node} sleeps and is cut off, its clock runs slow"
        case Readmit():
            return "who lost its data is taken in again"
        case _:
            assert_never(act)
