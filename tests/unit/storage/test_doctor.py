"""Which copy of a broken group is the most complete, and what is said about what may be lost."""

from __future__ import annotations

from tests.unit.storage.fake_disk import FakeDisk
from tests.unit.storage.host import Host, batch, mark, meta
from tests.unit.storage.test_damage import places
from zraft.core.entries import Batch, HardState, Kind, Membership
from zraft.core.memberships import encode_membership
from zraft.storage.doctor import Copy, Plan, Shot, copies_in, plans
from zraft.storage.replica import ReplicaMeta
from zraft.storage.store import Store, StoreSettings
from zraft.types import GroupId, Member, PeerId

A, B, C = (Member(PeerId("a", f"n{number}:1"), number) for number in (1, 2, 3))


def copy(member: Member = A, last: int = 5, term: int = 2, **changes: object) -> Copy:
    """A sound one with a log from 1 on, in the folder of its node."""
    values: dict[str, object] = {
        "folder": member.peer.node[:2],
        "meta": ReplicaMeta("a", GroupId(bytes(16)), member.incarnation, "dict"),
        "term": term,
        "log_after": 0,
        "last_index": last,
        "last_term": term,
        "known_index": last,
        "membership": Membership((A, B, C)),
        "shots": (),
        "fault": "",
        "has_left": False,
    }
    return Copy(**{**values, **changes})  # type: ignore[arg-type]


def plan(*copies: Copy) -> Plan:
    (found,) = plans(copies)
    return found


def best(found: Plan) -> str:
    return found.best.folder if found.best is not None else ""


def test_the_later_term_wins_and_then_the_longer_log() -> None:
    """As in an election: a long log of an old term may be what a later leader replaced (§3.6.1)."""
    assert best(plan(copy(A, 9, 2), copy(B, 5, 3), copy(C, 6, 3))) == "n3"
    assert [one.folder for one in plan(copy(A, 9, 2), copy(B, 5, 3)).copies] == ["n2", "n1"]


def test_nothing_is_lost_where_a_sound_majority_is_there() -> None:
    """Of the voters of the newest configuration; a damaged one does not count, and what left does not either."""
    assert plan(copy(A), copy(B)).is_complete
    assert not plan(copy(A)).is_complete
    assert not plan(copy(A), copy(B, fault="rotten")).is_complete
    assert not plan(copy(A), copy(B, has_left=True)).is_complete
    assert plan(copy(A), copy(B, fault="rotten")).missing == (B, C)
    joint = Membership((A,), outgoing=(A, B, C))
    assert not plan(copy(A, membership=joint)).is_complete
    assert not plan(copy(A, membership=None)).is_complete


def test_a_log_without_its_snapshot_cannot_be_brought_back() -> None:
    """A snapshot that was damaged is none; an older one than the log's beginning neither."""
    sound, damaged, older = Shot(5, 2, "5"), Shot(5, 2, "5", "checksum"), Shot(3, 1, "3")
    assert copy(last=9, log_after=5).end is None
    assert copy(last=9, log_after=5, shots=(older, damaged)).end is None
    assert copy(last=9, log_after=5, shots=(older, sound)).end == (2, 9)
    assert copy(last=4, term=1, shots=(sound,)).end == (2, 5)
    assert best(plan(copy(A, 9, log_after=5), copy(B, 6, 1))) == "n2"
    assert best(plan(copy(A, 9, log_after=5))) == ""
    assert plan(copy(A, 9, log_after=5, shots=(damaged,))).committed == 5


def test_groups_are_kept_apart() -> None:
    """By their ids, whatever their peers are called."""
    other = ReplicaMeta("a", GroupId(b"\1" * 16), 9, "dict")
    assert [len(found.copies) for found in plans([copy(A), copy(B), copy(C, meta=other)])] == [2, 1]


def filled() -> FakeDisk:
    """One replica with a log of ten entries, the fifth one larger than the others."""
    host = Host(FakeDisk())
    host.create("a", HardState(3))
    membership = encode_membership(Membership((Member(PeerId("a", "n1:1"), meta("a").incarnation), B, C)))
    host.write("a", Batch(1, 1, 1, 0, 0, Kind.CONFIGURATION, membership))
    for first in range(2, 11):
        host.write("a", batch(first, term=2, size=500 if first == 5 else 50))
    host.store.watermark()
    host.pump()
    return host.disk.copy()


def test_what_a_folder_has_is_read_and_left_as_it_is() -> None:
    """Term, log and configuration."""
    disk = filled()
    before = disk.image()
    (found,) = copies_in("n1", disk, {})
    assert (found.end, found.term, found.fault) == ((2, 10), 3, "")
    assert found.membership is not None
    assert len(found.membership.voters) == 3
    assert disk.image() == before


def test_a_rotten_folder_has_what_is_before_the_rot() -> None:
    """And says how far it once went; the promise of a replica that abstains is no copy either."""
    disk = filled()
    name, offset = next((item[0], item[1]) for item in places(disk) if item[2] == 500)
    disk.flip(name, offset + 200)
    (found,) = copies_in("n1", disk, {})
    assert (found.end, found.known_index, found.is_sound) == ((2, 4), 10, False)
    assert "does not match its checksum" in found.fault
    Store.open(disk, StoreSettings(), abstaining=[meta("a").incarnation])
    (found,) = copies_in("n1", disk, {})
    assert (found.end, found.is_sound) == ((2, 4), False)
    assert "had not got that back" in found.fault


def test_a_log_behind_a_snapshot_needs_it() -> None:
    """The fault says so; with the snapshot it is sound."""
    disk = filled()
    host = Host(disk)
    host.compact("a", mark(4, 2), 5)
    host.pump()
    owner = meta("a").incarnation
    (found,) = copies_in("n1", disk.copy(), {})
    assert "no snapshot leads to it" in found.fault
    (found,) = copies_in("n1", disk.copy(), {owner: [Shot(4, 2, "4")]})
    assert (found.end, found.fault, found.log_after) == ((2, 10), "", 4)
