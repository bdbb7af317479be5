"""A replica that was made of a checkpoint does what the one that it was taken of does, from then on."""

from __future__ import annotations

from dataclasses import fields

import msgspec
import pytest

from tests.raftkit.cluster import Host
from tests.raftkit.walk import Walk
from zraft.core import checkpoint, invariants
from zraft.core.checkpoint import (
    Held,
    HeldCandidate,
    HeldFollower,
    HeldLeader,
    HeldPreCandidate,
    HeldProgress,
    HeldSaves,
)
from zraft.core.events import Event
from zraft.core.output import Output
from zraft.core.progress import Progress
from zraft.core.raft import Raft
from zraft.core.replica import Replica
from zraft.core.roles import Candidate, Follower, Leader, PreCandidate
from zraft.core.saves import Saves

EVERY = 9
"""A new checkpoint after so many steps of one replica: every stretch of weather is seen from many beginnings."""


def kept(raft: Raft) -> bytes:
    """All but the log, in a form that can be compared."""
    return msgspec.msgpack.encode(checkpoint.hold(raft)[0])


class Shadows:
    """Beside each replica one that was resumed lately, told of the same events."""

    def __init__(self, walk: Walk) -> None:
        self._walk, self._watch = walk, walk.cluster.on_step
        self._shadows: dict[str, tuple[Raft, Raft | None, int]] = {}
        self.compared = self.led = 0
        walk.cluster.on_step = self.stepped

    def stepped(self, host: Host, event: Event, output: Output) -> None:
        """The replica took a step; so does its shadow."""
        name, raft = host.me.peer.name, host.up
        original, shadow, age = self._shadows.get(name, (raft, None, EVERY))
        if shadow is not None and original is raft:
            assert shadow.step(host.now, event) == output
            invariants.check_all(shadow.replica)
            assert kept(shadow) == kept(raft)
            assert shadow.log.memory_bytes == raft.log.memory_bytes
            assert shadow.log.parts() == raft.log.parts()
            self.compared += 1
            self.led += isinstance(raft.role, Leader)
        if shadow is None or original is not raft or age >= EVERY:
            shadow, age = checkpoint.resume(*checkpoint.hold(raft)), 0
        self._shadows[name] = raft, shadow, age + 1
        if self._watch is not None:
            self._watch(host, event, output)


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_resumed_replica_gives_the_same_outputs(seed: int) -> None:
    """In every role, with everything under way: each output is equal, and so is all that is kept."""
    walk = Walk(seed)
    shadows = Shadows(walk)
    walk.storm(2000)
    walk.calm()
    assert shadows.compared > 100
    assert shadows.led > 10


def test_a_held_log_stays_as_it_was() -> None:
    """Nothing is copied when it is held: truncation, compaction and eviction leave what is held alone."""
    for seed in range(1, 9):
        walk = Walk(seed)
        walk.storm(200)
        held = [
            (checkpoint.hold(host.raft), host.raft.log.parts(), host.raft.log.memory_bytes)
            for host in walk.cluster.hosts.values()
            if host.raft is not None
        ]
        kept = [(list(lasts), list(terms), window) for _, (lasts, terms, window), _ in held]
        sizes = [size for _, _, size in held]
        walk.storm(200)
        resumed = [checkpoint.resume(*state).log for state, _, _ in held]
        assert [log.parts() for log in resumed] == kept
        assert [log.memory_bytes for log in resumed] == sizes


def test_every_field_of_every_part_is_named() -> None:
    """One that is forgotten might matter only in weather that no seed brings."""
    made_again = {"is_hard_state_due", "log", "out", "told_basis"}
    assert {*Replica.__slots__} - {*Held.__struct_fields__} == made_again
    assert {*Saves.__slots__} == {*HeldSaves.__struct_fields__}
    assert {*Progress.__slots__} == {*HeldProgress.__struct_fields__}
    for role, held in (
        (Follower, HeldFollower),
        (PreCandidate, HeldPreCandidate),
        (Candidate, HeldCandidate),
        (Leader, HeldLeader),
    ):
        assert [field.name for field in fields(role)] == list(held.__struct_fields__)
