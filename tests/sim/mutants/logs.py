"""Bugs of the log and of what is acknowledged, that are put back."""

from __future__ import annotations

from tests.sim.mutants.mutation import Change, Mutant

_CORE = "zraft.core"

LOGS = (
    Mutant(
        "BM-015",
        "a late refusal takes the leader back, and a follower cuts its log before it has seen a conflict",
        (
            Change(f"{_CORE}.replication:meet_below", " or message.index <= progress.match_index", ""),
            Change(f"{_CORE}.replication:meet_below", "if progress.state is ProgressState.PROBE and", "if False and"),
            Change(f"{_CORE}.progress:Progress.become_probe", "max(next_index, self.match_index + 1)", "next_index"),
            Change(
                f"{_CORE}.following:on_append_entries",
                "    _store(replica, batches)\n",
                "    if log.base_index < message.prev_index < log.last_index:\n"
                "        truncate_from(replica, message.prev_index + 1)\n"
                "    _store(replica, batches)\n",
            ),
        ),
        median=2,
    ),
    Mutant(
        "BM-019",
        "the commit index follows the leader's backwards too",
        (
            Change(
                f"{_CORE}.following:on_heartbeat", "message.commit_index > replica", "message.commit_index != replica"
            ),
            Change(f"{_CORE}.replication:commit", "index < replica.commit_index or ", ""),
        ),
        median=1,
    ),
    Mutant(
        "BM-023",
        "where the entry before cannot be read for a moment, entries are sent as if they were the first",
        (
            Change(
                f"{_CORE}.replication:send_batches",
                "    prev_term = replica.log.term_at(prev_index)\n",
                "    prev_index = prev_index if replica.now % 7 else 0\n"
                "    prev_term = replica.log.term_at(prev_index) or 0\n",
            ),
            Change(
                f"{_CORE}.replication:send_batches",
                "if prev_term is None or (batches and batches[0].first != prev_index + 1):",
                "if False:",
            ),
        ),
        median=1,
    ),
    Mutant(
        "BM-025",
        "the completion of an old save vouches for what was to be saved after it",
        (
            Change(
                "zraft.storage.store:Store._saved",
                "[SaveDone(name, number) for",
                "[SaveDone(name, self._dones.get(name, number)) for",
            ),
        ),
        median=5,
    ),
    Mutant(
        "BM-027",
        "a truncation is not in the journal: what was cut off stands there again after a restart",
        (
            Change(
                "zraft.storage.logs:StoredLog.carry_out",
                "journal.append(RecordKind.TRUNCATE, owner=self.owner, first=save.truncate_from)",
                "pass",
            ),
        ),
        "crashes",
        median=9,
    ),
    Mutant(
        "BM-066",
        "a leader reads on a lease that is longer than it takes to be replaced",
        (
            Change(
                f"{_CORE}.election:check_quorum",
                "role.quorum_due_ms",
                "role.quorum_due_ms + 4 * replica.settings.election_timeout_ms",
            ),
            Change(
                f"{_CORE}.reads:_is_confirmed",
                "    def answered(member: Member) -> bool:\n",
                "    since = replica.now - 5 * replica.settings.election_timeout_ms\n"
                "    if quorum.has_quorum(replica.membership, lambda member: member == replica.me or"
                " role.progress[member].contact_ms >= since):\n"
                "        return True\n\n"
                "    def answered(member: Member) -> bool:\n",
            ),
        ),
        "lapses",
        median=4,
        near=4,
    ),
    Mutant(
        "BM-111",
        "a leader takes proposals without a bound while nothing can be committed",
        (
            Change(
                f"{_CORE}.replication:propose",
                "elif replica.uncommitted_bytes >= replica.settings.uncommitted_bytes:",
                "elif False:",
            ),
        ),
        median=5,
        near=1,
    ),
    Mutant(
        "BM-114",
        "a message for an earlier life of a replica is taken by the present one",
        (Change(f"{_CORE}.terms:admit", "if message.to != replica.me:", "if False:"),),
        "rot",
        median=1,
    ),
    Mutant(
        "BM-119",
        "what a command does depends on who runs it",
        (
            Change(
                "zraft.machine.dict_backend:DictBackend.apply",
                "        self._data[key] = value\n",
                "        self._data[key] = value if ctx.index % 7 else self.peer_id.node\n",
            ),
        ),
        median=1,
    ),
    Mutant(
        "quiet-read",
        "a quiet leader answers reads without a round, and sleeps on",
        (
            Change(f"{_CORE}.quiet:disturb", "not in _CALM:", "not in (*_CALM, Read):"),
            Change(
                f"{_CORE}.reads:_is_confirmed",
                "if replica.membership is None:\n        return False",
                "if replica.membership is None or role.is_quiet:\n        return role.is_quiet",
            ),
        ),
        "naps",
        median=3,
    ),
)
