"""The bugs that are put back, named after the documented bug that each one is."""

from __future__ import annotations

from tests.sim.mutants.mutation import Mutant

MUTANTS = (
    Mutant(
        "BM-001",
        "a granted vote leaves before it is durable",
        "zraft.peer.peer:Peer._carry_out",
        (
            (
                "self._send(message, self._issued)",
                "self._send(message, self._issued if hasattr(message, 'index') else 0)",
            ),
        ),
        "crashes",
    ),
    Mutant(
        "BM-002",
        "term and vote are forgotten at a restart",
        "zraft.peer.peer:Peer.__init__",
        (
            (
                "settings, recovered, seed=seed",
                "settings, msgspec.structs.replace(recovered, hard_state=type(recovered.hard_state)()), seed=seed",
            ),
        ),
        "crashes",
    ),
    Mutant(
        "BM-003",
        "whoever steps down within a term forgets its vote",
        "zraft.core.replica:Replica.become_follower",
        (("old = self.role\n", "old = self.role; self.voted_for = None\n"),),
    ),
    Mutant(
        "BM-005",
        "a vote of an earlier term is counted",
        "zraft.core.terms:admit",
        (
            (
                "if message.term < replica.current_term:",
                "if message.term < replica.current_term and not isinstance(message, RequestVoteReply):",
            ),
        ),
        "elections",
    ),
    Mutant(
        "BM-014",
        "a shorter AppendEntries truncates what follows it",
        "zraft.core.following:_store",
        (
            (
                "log = replica.log\n",
                "log = replica.log\n"
                "    if batches and log.has(batches[-1].last, batches[-1].term) and batches[-1].last < log.last_index:\n"
                "        truncate_from(replica, batches[-1].last + 1)\n",
            ),
        ),
    ),
    Mutant(
        "BM-016",
        "a follower acknowledges up to its own last index",
        "zraft.core.following:on_append_entries",
        (("replica.current_term, True, index)", "replica.current_term, True, log.last_index)"),),
    ),
    Mutant(
        "BM-017",
        "a late reply moves the match index back",
        "zraft.core.progress:Progress.acknowledged",
        (("if is_news:", "if True:"),),
    ),
    Mutant(
        "BM-018",
        "a follower commits what the leader committed, verified or not",
        "zraft.core.following:on_append_entries",
        (("min(message.commit_index, index)", "min(message.commit_index, log.last_index)"),),
        "stale",
    ),
    Mutant(
        "BM-020",
        "entries of earlier terms are committed by counting",
        "zraft.core.replication:advance_commit",
        ((" or replica.log.term_at(index) != replica.current_term", ""),),
        "elections",
    ),
    Mutant(
        "BM-034",
        "a truncated configuration stays in force",
        "zraft.core.following:truncate_from",
        (("replica.memberships.truncate_from(index)", "pass"),),
        "membership",
    ),
    Mutant(
        "BM-063",
        "a new leader answers reads before it has committed anything",
        "zraft.core.reads:_begin_round",
        ((" or replica.commit_index < role.term_start", ""),),
        "stale",
    ),
    Mutant(
        "BM-064",
        "an answer to an earlier round confirms leadership",
        "zraft.core.reads:_begin_round",
        (("role.read_round = role.round\n", "role.read_round = role.round - 1\n"),),
        "stale",
    ),
    Mutant(
        "BM-067",
        "a leader reads without asking whether it still leads",
        "zraft.core.reads:_is_confirmed",
        (("if replica.membership is None:\n        return False", "return True"),),
        "stale",
    ),
    Mutant(
        "BM-090",
        "the leader counts itself before its disk is done",
        "zraft.core.replication:advance_commit",
        (("return replica.saves.durable_index", "return replica.log.last_index"),),
    ),
    Mutant(
        "BM-091",
        "the journal reports entries durable that it has not synced",
        "zraft.storage.journal:Journal.take",
        (("writes += (SyncFile(", "writes += () and (SyncFile("),),
        "crashes",
    ),
    Mutant(
        "BM-100",
        "the folder is not synced after a segment was created",
        "zraft.storage.journal:Journal.next_slice",
        (("SyncFile(name), SyncFolder()", "SyncFile(name)"),),
        "crashes",
    ),
)
