"""What no replica can know of the others: one leader per term, one history, nothing committed is ever missing."""

from __future__ import annotations

from zraft.core.entries import Batch, Kind
from zraft.core.raft import Raft
from zraft.core.roles import Leader
from zraft.types import Index, Member, Term


class Ghost:
    """Told of every step; asserts what must hold of all replicas together (I1, I4, I5, M4)."""

    def __init__(self) -> None:
        self.leader_of: dict[Term, Member] = {}
        self.committed: dict[Index, Batch] = {}
        """Every batch that any replica took for committed, by its last index."""
        self.applied: dict[Member, Index] = {}

    def restarted(self, raft: Raft) -> None:
        """Its machine begins at its snapshot again."""
        self.applied[raft.me] = raft.snapshot.index

    def stepped(self, raft: Raft, journal: list[Batch], *, reset_to: Index) -> None:
        """`journal` is the replica's whole log as it stands; `reset_to` the snapshot that replaced it, or 0."""
        role, me = raft.role, raft.me
        if type(role) is Leader:
            known = self.leader_of.setdefault(raft.current_term, me)
            assert known == me, f"I1: {known} and {me} lead term {raft.current_term}"
            self._check_completeness(raft)
        in_force = next((batch.first for batch in reversed(journal) if batch.kind == Kind.CONFIGURATION), None)
        if in_force is None:
            in_force = raft.snapshot.membership_index
        assert raft.memberships.current_index == in_force, (
            f"M4: {me} follows {raft.memberships.current_index}, its log has {in_force}"
        )
        applied = max(self.applied.get(me, 0), reset_to)
        if raft.commit_index > applied:
            for batch in journal:
                if applied < batch.last <= raft.commit_index:
                    known_batch = self.committed.setdefault(batch.last, batch)
                    assert known_batch == batch, f"I5: {me} commits {batch}, somebody committed {known_batch}"
        self.applied[me] = max(applied, raft.commit_index)

    def _check_completeness(self, raft: Raft) -> None:
        for last, batch in self.committed.items():
            if last > raft.log.base_index and batch.term < raft.current_term:
                assert raft.log.has(last, batch.term), f"I4: {raft.me} leads {raft.current_term} without {batch}"
