"""The store against a naive one: a list of batches per replica, a dictionary of hard states."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.storage.fake_disk import FakeDisk, PowerLoss
from tests.unit.storage.host import SMALL, Host, batch, configuration, mark, member
from zraft.core.entries import Batch, HardState, SnapshotMark
from zraft.storage.replica import LoadDone

NAMES = st.sampled_from(("a", "b", "c"))


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of calls, with jobs performed late or soon, and any crash in between."""

    @initialize()
    def begin(self) -> None:
        self.host = Host(FakeDisk(), SMALL)
        self.token = 0
        self.tokens: dict[int, tuple[str, int]] = {}

    def log(self, name: str) -> tuple[SnapshotMark, tuple[Batch, ...]]:
        return self.host.replicas[name].logs[-1]

    def next_first(self, name: str) -> int:
        at, batches = self.log(name)
        return max(at.index, batches[-1].last if batches else 0) + 1

    def term(self, name: str) -> int:
        at, batches = self.log(name)
        return max(at.term, batches[-1].term if batches else 1)

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        if name not in self.host.replicas and name not in self.host.removed:
            self.host.create(name)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        if name in self.host.replicas:
            self.host.remove(name)

    @rule(name=NAMES, count=st.integers(1, 4), size=st.sampled_from((0, 30, 400, 1500, 6000)), newer=st.booleans())
    def append(self, name: str, count: int, size: int, newer: bool) -> None:
        if name in self.host.replicas:
            first, term = self.next_first(name), self.term(name) + newer
            self.host.save(name, batch(first, count, term, size=size), batch(first + count, 1, term))

    @rule(name=NAMES)
    def configure(self, name: str) -> None:
        if name in self.host.replicas:
            self.host.save(name, configuration(self.next_first(name), "x", "y", term=self.term(name)))

    @rule(name=NAMES, more=st.integers(1, 3), vote=st.booleans())
    def promise(self, name: str, more: int, vote: bool) -> None:
        if name in self.host.replicas:
            term = self.host.replicas[name].hard[-1].term + more
            self.host.save(name, hard_state=HardState(term, member("x") if vote else None))

    @rule(name=NAMES, where=st.floats(0, 1), rewrite=st.booleans())
    def truncate(self, name: str, where: float, rewrite: bool) -> None:
        if name in self.host.replicas and self.log(name)[1]:
            _, batches = self.log(name)
            first = batches[int(where * (len(batches) - 1))].first
            anew = [batch(first, 2, self.term(name) + 1, size=100)] if rewrite else []
            self.host.save(name, *anew, truncate_from=first)

    @rule(name=NAMES, where=st.floats(0, 1), keep=st.integers(0, 9))
    def compact(self, name: str, where: float, keep: int) -> None:
        if name in self.host.replicas and self.log(name)[1]:
            _, batches = self.log(name)
            last = batches[int(where * (len(batches) - 1))]
            self.host.compact(name, mark(last.last, last.term), max(1, last.last + 1 - keep))

    @rule(name=NAMES, ahead=st.integers(1, 50))
    def install(self, name: str, ahead: int) -> None:
        if name in self.host.replicas:
            self.host.save(name, reset_to=mark(self.next_first(name) + ahead, self.term(name)))

    @rule(name=NAMES, where=st.floats(0, 1))
    def load(self, name: str, where: float) -> None:
        if name in self.host.replicas and self.log(name)[1]:
            _, batches = self.log(name)
            item = batches[int(where * (len(batches) - 1))]
            self.token = token = self.token + 1
            self.tokens[token] = name, item.first
            self.host.store.load(name, token, item.first, item.last + 20, 2000)

    @rule()
    def hand_out(self) -> None:
        self.host.hand_out()

    @rule()
    def complete(self) -> None:
        if self.host.disk.jobs:
            self.look(self.host.complete())

    @rule()
    def pump(self) -> None:
        while self.host.hand_out() or self.host.disk.jobs:
            if self.host.disk.jobs:
                self.look(self.host.complete())

    @rule()
    def watermark(self) -> None:
        self.host.store.watermark()

    def look(self, results: Sequence[object]) -> None:
        """What a load brought is what the naive log has, from where it was asked for."""
        for item in results:
            if isinstance(item, LoadDone):
                name, first = self.tokens.pop(item.token)
                if name in self.host.replicas:
                    at, batches = self.log(name)
                    found = [other for other in item.batches if other.first > at.index]
                    assert found == [other for other in batches if other.first >= first][: len(found)]

    @precondition(lambda self: hasattr(self, "host"))
    @rule(mode=st.sampled_from(("killed", "lose", "keep", "torn")), seed=st.integers(0, 99), power=st.integers(0, 12))
    def crash(self, mode: str, seed: int, power: int) -> None:
        disk = self.host.disk.after_crash(mode, seed)
        disk.power = power
        try:
            self.host = Host(disk, SMALL, self.host)
        except PowerLoss:
            self.host = Host(disk.after_crash(mode, seed), SMALL, self.host)
        self.host.disk.power = None
        self.tokens.clear()

    @invariant()
    def nothing_failed(self) -> None:
        if hasattr(self, "host"):
            assert all(type(item).__name__ in ("SaveDone", "LoadDone") for item in self.host.results)


StoreMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, derandomize=True, deadline=None)
TestStoreModel = StoreMachine.TestCase
