"""Bugs of what disks do and do not, that are put back."""

from __future__ import annotations

from tests.sim.mutants.mutation import Change, Mutant

DISKS = (
    Mutant(
        "BM-092",
        "a member that is alone acknowledges before its disk is done",
        (
            Change(
                "zraft.core.replication:advance_commit",
                "else replica.saves.durable_index",
                "else replica.saves.durable_index if role.progress else replica.log.last_index",
            ),
        ),
        "crashes",
        median=4,
    ),
    Mutant(
        "BM-094",
        "a torn end of the journal is taken for corruption",
        (
            Change(
                "zraft.storage.scan:Scan._end",
                "self.cut = Cut(self._segments[position], offset, what)",
                "self._lost = Damage(self._segments[position], offset, what, self.expected, self.expected)",
            ),
        ),
        "torn",
        median=2,
    ),
    Mutant(
        "BM-098",
        "a disk that is full counts as one that has written",
        (
            Change(
                "zraft.storage.store:Store.completed",
                "if completion.error is not None:",
                "if completion.error is not None and completion.error.errno_name != 'ENOSPC':",
            ),
        ),
        "disk",
        median=10,
        near=10,
    ),
    Mutant(
        "BM-099",
        "a leader whose disk stands still stays",
        (
            Change(
                "zraft.core.election:check_disk",
                "replica.saves.stalled_for(replica.now) <= 2 * replica.settings.election_timeout_ms",
                "True",
            ),
        ),
        "shapes",
        median=8,
        near=11,
    ),
    Mutant(
        "BM-103",
        "a hard state that is ahead of the log refuses the start",
        (
            Change(
                "zraft.storage.replay:Trace.recovered",
                "    tail, time = [], self.mark.time\n",
                "    tail, time = [], self.mark.time\n"
                "    if self.index.terms and self.row.hard_state.term > self.index.terms[-1]:\n"
                "        self.fail(CorruptData('state', 0, 'the hard state is ahead of the log'))\n",
            ),
        ),
        "crashes",
        median=1,
    ),
)
