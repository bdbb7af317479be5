"""Replicas that give up what they lost: what is left, that it stays so, and the promise to abstain with it."""

from __future__ import annotations

from typing import TypeAlias

import pytest

from tests.unit.storage.fake_disk import FakeDisk, PowerLoss
from tests.unit.storage.host import SMALL, Host, batch, configuration, mark, meta
from tests.unit.storage.test_damage import places
from zraft.core.entries import HardState, Membership, SnapshotMark
from zraft.errors import StorageError
from zraft.storage import hard_state as state_files
from zraft.storage.hard_state import STATE_FILES, decode_state
from zraft.storage.records import RecordKind
from zraft.storage.recovery import survey
from zraft.storage.replica import RecoveredReplica
from zraft.storage.segments import list_segments, segment_name
from zraft.storage.store import Store
from zraft.types import Member, PeerId

State: TypeAlias = tuple[SnapshotMark, list[int], list[int]]


def lived() -> tuple[FakeDisk, dict[str, list[State]]]:
    """Two replicas over some segments, with every kind of record; and every state that each log ever had."""
    host = Host(FakeDisk())
    host.create("a", HardState(3))
    host.create("b", HardState(3))
    host.save("a", configuration(1, "a", "b"))
    host.save("b", batch(1, term=2, size=200))
    host.pump()
    for first in range(2, 10):
        host.write("a", batch(first, size=700))
        if first % 4 == 0:
            host.write("b", batch(first // 4 + 1, term=2, size=90))
    host.save("a", batch(9, 2, 2), truncate_from=9)
    host.save("b", reset_to=mark(10, 2))
    host.save("b", batch(11, 2, 2))
    host.compact("a", mark(3), 4)
    host.write("a", batch(11, 1, 2))
    host.store.watermark()
    host.pump()
    states = {
        name: [(at, [one.last for one in log], [one.term for one in log]) for at, log in expected.logs]
        for name, expected in host.replicas.items()
    }
    return host.disk.copy(), states


def rotten_in(disk: FakeDisk) -> list[str]:
    return [one.meta.name for one in Store.open(disk, SMALL).replicas if one.is_rotten]


def given_up(disk: FakeDisk, names: list[str]) -> dict[str, RecoveredReplica]:
    opened = Store.open(disk, SMALL, abstaining=[meta(name).incarnation for name in names])
    return {one.meta.name: one for one in opened.replicas}


def seen(found: RecoveredReplica) -> State:
    return found.recovered.mark, found.recovered.lasts, found.recovered.terms


def was_once(found: RecoveredReplica, states: list[State]) -> bool:
    """A log that the replica had at some moment, or the beginning of one."""
    at, lasts, terms = seen(found)
    return any(at == known and lasts == ends[: len(lasts)] and terms == of[: len(terms)] for known, ends, of in states)


def test_whatever_rots_what_is_left_is_a_log_that_the_replica_had() -> None:
    """And with it a new term without a vote, and that in which it votes again; the other replica keeps all it has."""
    disk, states = lived()
    before = {one.meta.name: one for one in Store.open(disk.copy(), SMALL).replicas}
    count = 0
    for name, offset, length, _, _ in places(disk):
        for byte in (5, 20, 40, 70, 92, 97, 96 + length // 2):
            image = disk.copy()
            image.flip(name, min(offset + byte, image.size(name) - 1), byte % 8)
            rotten = rotten_in(image)
            found = given_up(image, rotten)
            for replica in ("a", "b"):
                one = found[replica]
                assert one.fault is None
                assert was_once(one, states[replica]), (name, offset, byte)
                expected = HardState(4, None, 4) if replica in rotten else before[replica].recovered.hard_state
                assert one.recovered.hard_state == expected
                assert replica in rotten or one.recovered == before[replica].recovered
            again = {one.meta.name: one for one in Store.open(image, SMALL).replicas}
            assert {key: seen(one) for key, one in again.items()} == {key: seen(one) for key, one in found.items()}
            assert not any(one.fault for one in again.values())
            count += len(rotten)
    assert count > 100


def damaged() -> tuple[FakeDisk, dict[str, list[State]]]:
    """A header in the middle of the journal is lost: it may have been anybody's."""
    disk, states = lived()
    name, offset = next((item[0], item[1]) for item in places(disk) if item[2] == 700 and item[0] == segment_name(2))
    disk.flip(name, offset + 30)
    return disk, states


def test_what_is_written_afterwards_stays() -> None:
    """Batches, truncations and marks of the time after are understood at every later start, and no fault comes back."""
    disk, states = damaged()
    left = given_up(disk, ["a", "b"])
    assert left["a"].recovered.lasts
    host = Host(disk)
    first = left["a"].recovered.lasts[-1] + 1
    host.write("a", batch(first, 2, 5), hard_state=HardState(5, None, 4))
    host.write("a", batch(first, 1, 6), truncate_from=first, hard_state=HardState(6, None, 4))
    host.save("b", reset_to=mark(20, 5))
    host.write("b", batch(21, 1, 5))
    again = Host(host.disk.after_crash("lose"), known=host)
    assert again.found["a"].recovered.hard_state.abstains_below == 4
    again.write("a", hard_state=HardState(6))
    last = Host(again.disk.after_crash("lose"), known=again)
    assert last.found["a"].recovered.lasts[-1] == first
    assert last.found["a"].recovered.hard_state == HardState(6)
    assert was_once(left["a"], states["a"])


def test_the_loss_is_forgotten_with_its_segments() -> None:
    """The state files are of the old format again, which any program can read, when nothing has to be told any more."""
    disk, _ = damaged()
    given_up(disk, ["a", "b"])
    assert disk.read("state-a", 12, 1) == b"\x02"
    host = Host(disk)
    for replica in ("a", "b"):
        host.save(replica, reset_to=mark(20, 5), hard_state=HardState(5))
    host.pump()
    for first in range(21, 60):
        host.write("a", batch(first, 1, 5, size=900))
        host.compact("a", mark(first, 5), first)
        host.save("b", reset_to=mark(first, 5))
        host.pump()
    assert min(list_segments(disk.names())) > 3
    Store.open(disk, SMALL)
    assert disk.read("state-a", 12, 1) == b"\x01"


def test_a_power_loss_while_it_is_given_up_leaves_all_of_it_or_the_promise() -> None:
    """At no step is there a shortened log that may vote."""
    disk, _ = damaged()
    whole = [seen(one) for one in Store.open(disk.copy(), SMALL).replicas]
    steps, is_through = 0, False
    while not is_through:
        image = disk.copy()
        image.power = steps
        try:
            given_up(image, ["a", "b"])
            is_through = True
        except PowerLoss:
            pass
        for mode in ("lose", "torn", "keep"):
            after = image.after_crash(mode, steps)
            for one in Store.open(after, SMALL).replicas:
                assert (one.fault is not None) or one.recovered.hard_state == HardState(4, None, 4)
        steps += 1
    assert steps > 6
    assert whole


def test_more_that_rots_later_is_given_up_in_a_later_term() -> None:
    """What it acknowledged since counts as well: the promise is made anew."""
    disk, states = lived()
    spots = [item for item in places(disk) if item[2] == 700]
    for turn, (name, offset, _, _, _) in enumerate((spots[-2], spots[-4])):
        disk.flip(name, offset + 100)
        assert rotten_in(disk) == ["a"]
        left = given_up(disk, ["a"])["a"]
        assert left.recovered.hard_state == HardState(4 + turn, None, 4 + turn)
        assert was_once(left, states["a"])


def test_of_one_that_is_not_rotten_nothing_is_left_but_its_promises() -> None:
    """Its snapshot is lost, say, and the log does not lead anywhere without that."""
    disk, _ = lived()
    found = given_up(disk, ["b"])["b"]
    assert (seen(found), found.fault) == ((SnapshotMark(), [], []), None)
    assert found.recovered.hard_state == HardState(4, None, 4)


def test_who_else_was_a_member_is_known_though_the_log_is_not() -> None:
    """Any configuration that can be read will do, one behind the rot, or that of a snapshot mark, too."""
    other = Member(PeerId("z", "n9:1"), 99)
    host = Host(FakeDisk())
    host.create("a", HardState(3))
    host.write("a", batch(1, size=50))
    host.write("a", configuration(2, "a", "b"))
    at = SnapshotMark(2, 1, 0, 2, Membership((other,)))
    host.compact("a", at, 1)
    host.write("a", batch(3, size=50))
    host.store.watermark()
    host.pump()
    disk = host.disk.copy()
    name, offset = next((item[0], item[1]) for item in places(disk) if item[2] == 50)
    disk.flip(name, offset + 3)
    found = Store.open(disk, SMALL).replicas[0]
    assert found.is_rotten
    assert {member.peer.name for member in found.named} == {"a", "b", "z"}


def test_a_program_that_knows_only_the_first_format_refuses_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the replica for a whole one (BM-117)."""
    disk, _ = damaged()
    given_up(disk, ["a", "b"])
    monkeypatch.setattr(state_files, "STATE_VERSION", 1)
    with pytest.raises(StorageError, match="newer program"):
        Store.open(disk, SMALL)


def test_a_survey_changes_nothing() -> None:
    """It says what would be left, and both state files are as before."""
    disk, states = damaged()
    before = disk.image()
    found = survey(disk, [meta("a").incarnation])
    assert disk.image() == before
    assert found.traces[meta("a").incarnation].row.hard_state.abstains_below == 4
    assert decode_state(before[STATE_FILES[0]])
    assert states


def test_a_log_that_cannot_be_understood_without_what_was_lost_is_given_up_whole() -> None:
    """Its first batch was copied forward, behind the place that rotted: the second one alone is no log."""
    host = Host(FakeDisk())
    host.create("a", HardState(3))
    host.create("b", HardState(3))
    host.write("a", batch(1, size=300))
    first = 1
    while segment_name(4) not in host.disk.names():
        host.write("b", batch(first, size=900))
        first += 1
    host.write("a", batch(2, size=310))
    while segment_name(1) in host.disk.names():
        host.write("b", batch(first, size=900))
        host.compact("b", mark(first), first + 1)
        host.pump()
        first += 1
    disk = host.disk.copy()
    ours = [item for item in places(disk) if item[4] == meta("a").incarnation]
    assert [(item[2], item[3]) for item in ours] == [(310, RecordKind.BATCH), (300, RecordKind.COPY)]
    name, offset = next(
        (item[0], item[1]) for item in places(disk) if item[4] == meta("b").incarnation and item > ours[0]
    )
    disk.flip(name, offset + 30)
    assert "a" in rotten_in(disk)
    found = given_up(disk, rotten_in(disk))["a"]
    assert (seen(found), found.fault) == ((SnapshotMark(), [], []), None)
    assert found.recovered.hard_state == HardState(4, None, 4)
