"""The bugs that are put back, named after the documented bug that each one is; a word names one of our own ideas."""

from __future__ import annotations

from tests.sim.mutants.disks import DISKS
from tests.sim.mutants.logs import LOGS
from tests.sim.mutants.membership import MEMBERSHIP
from tests.sim.mutants.mutation import Change, Mutant
from tests.sim.mutants.played import PLAYED
from tests.sim.mutants.recovery import RECOVERY
from tests.sim.mutants.streams import STREAMS
from tests.sim.mutants.votes import VOTES

_PEER = "zraft.peer.peer:Peer"
_CORE = "zraft.core"
_TAKING = "zraft.peer.snapshotting:Snapshotting"

MUTANTS = (
    Mutant(
        "BM-001",
        "a granted vote leaves before it is durable",
        (
            Change(
                f"{_PEER}._carry_out",
                "self._send(message, self._issued)",
                "self._send(message, self._issued if hasattr(message, 'index') else 0)",
            ),
        ),
        median=2,
    ),
    Mutant(
        "BM-002",
        "term and vote are forgotten at a restart",
        (
            Change(
                f"{_PEER}.__init__",
                "settings, recovered, seed=seed",
                "settings, type(recovered)(type(recovered.hard_state)(), recovered.mark, recovered.lasts,"
                " recovered.terms, recovered.tail, recovered.memberships, recovered.time), seed=seed",
            ),
        ),
        "crashes",
        median=1,
    ),
    Mutant(
        "BM-003",
        "whoever steps down within a term forgets its vote",
        (
            Change(
                f"{_CORE}.replica:Replica.become_follower",
                "old = self.role\n",
                "old = self.role; self.voted_for = None\n",
            ),
        ),
        median=1,
    ),
    Mutant(
        "BM-005",
        "a vote of an earlier term is counted",
        (
            Change(
                f"{_CORE}.terms:admit",
                "if message.term < replica.current_term:",
                "if message.term < replica.current_term and not isinstance(message, RequestVoteReply):",
            ),
        ),
        "elections",
        median=2,
        near=16,
    ),
    Mutant(
        "BM-014",
        "a shorter AppendEntries truncates what follows it",
        (
            Change(
                f"{_CORE}.following:_store",
                "log = replica.log\n",
                "log = replica.log\n"
                "    end = batches[-1].last if batches else log.last_index\n"
                "    if end < log.last_index and log.has(end, batches[-1].term):\n"
                "        truncate_from(replica, end + 1)\n",
            ),
        ),
        median=5,
        near=2,
    ),
    Mutant(
        "BM-016",
        "a follower acknowledges up to its own last index",
        (
            Change(
                f"{_CORE}.following:on_append_entries",
                "replica.current_term, True, index)",
                "replica.current_term, True, log.last_index)",
            ),
        ),
        median=5,
    ),
    Mutant(
        "BM-017",
        "a late reply moves the match index back",
        (Change(f"{_CORE}.progress:Progress.acknowledged", "if is_news:", "if True:"),),
        median=4,
    ),
    Mutant(
        "BM-018",
        "a follower commits what the leader committed, verified or not, and the leader overshoots the meeting point",
        (
            Change(
                f"{_CORE}.following:on_append_entries",
                "min(message.commit_index, index)",
                "min(message.commit_index, log.last_index)",
            ),
            Change(
                f"{_CORE}.replication:meet_below",
                "upper = min(message.hint_index, message.index - 1)",
                "upper = min(message.hint_index, message.index - 1)\n"
                "    upper = max(upper - 3, replica.log.base_index) if upper > replica.log.base_index else upper",
            ),
        ),
        "stale",
        median=7,
        near=4,
    ),
    Mutant(
        "BM-020",
        "entries of earlier terms are committed by counting",
        (Change(f"{_CORE}.replication:advance_commit", " or replica.log.term_at(index) != replica.current_term", ""),),
        "elections",
        median=2,
        near=2,
    ),
    Mutant(
        "BM-034",
        "a truncated configuration stays in force",
        (Change(f"{_CORE}.following:truncate_from", "replica.memberships.truncate_from(index)", "pass"),),
        "membership",
        median=30,
        near=45,
    ),
    *MEMBERSHIP,
    *RECOVERY,
    Mutant(
        "BM-013",
        "who starts from a snapshot is in its term again",
        (
            Change(
                f"{_CORE}.replica:Replica.__init__",
                "self.current_term: Term = recovered.hard_state.term",
                "self.current_term: Term = recovered.mark.term or recovered.hard_state.term",
            ),
        ),
        "snapshots",
        median=1,
    ),
    Mutant(
        "BM-035",
        "a configuration that a snapshot discarded stays in force",
        (Change(f"{_CORE}.snapshots:_install", "replica.memberships.reset(mark)", "pass"),),
        "snapshots",
        median=4,
        near=4,
    ),
    Mutant(
        "BM-050",
        "a snapshot does not discard the log that it replaces",
        (Change(f"{_CORE}.snapshots:_install", "replica.log.reset(mark.index, mark.term)", "pass"),),
        "snapshots",
        median=2,
        near=2,
    ),
    Mutant(
        "BM-051",
        "a snapshot moves the index of the state, and not the state",
        (Change(f"{_PEER}.restored", "self.machine = machine", "self.machine.last_applied = mark.index"),),
        "snapshots",
        median=2,
    ),
    Mutant(
        "BM-053",
        "the log is cut before the snapshot that covers it is published",
        (
            Change(
                f"{_TAKING}._take",
                "self._submit(",
                "self._growth.published(index, 0, 0)\n"
                "    peer.step(now, SnapshotTaken(mark, self._growth.keep_from()))\n"
                "    self._submit(",
            ),
        ),
        "snapshots",
        median=1,
    ),
    Mutant(
        "BM-056",
        "a snapshot is acknowledged before the journal has it",
        (
            Change(
                f"{_CORE}.snapshots:on_restored",
                "replica.send_after_save(SnapshotReply",
                "replica.send_now(SnapshotReply",
            ),
        ),
        "snapshots",
        median=2,
    ),
    Mutant(
        "BM-057",
        "the first entries after a snapshot are acknowledged before they, and it, are durable",
        (
            Change(
                f"{_CORE}.following:on_append_entries",
                "replica.send_after_save(AppendReply",
                "(replica.send_now if message.prev_index == log.base_index > 0 else replica.send_after_save)"
                "(AppendReply",
            ),
        ),
        "snapshots",
        median=2,
    ),
    Mutant(
        "BM-063",
        "a new leader answers reads before it has committed anything",
        (Change(f"{_CORE}.reads:_begin_round", " or replica.commit_index < role.term_start", ""),),
        "stale",
        median=2,
        near=5,
    ),
    Mutant(
        "BM-064",
        "the number of a read's round is used again, so that answers to the first confirm the next",
        (
            Change(
                f"{_CORE}.reads:_begin_round",
                "role.read_round = role.round",
                "role.read_round = role.read_round or role.round",
            ),
        ),
        "stale",
        median=12,
        near=2,
    ),
    Mutant(
        "BM-066 rounds",
        "a leader that was followed a moment ago reads without asking again",
        (
            Change(
                f"{_CORE}.reads:_is_confirmed",
                "progress.round >= role.read_round",
                "progress.round >= role.read_round - 3",
            ),
        ),
        "stale",
        median=29,
        near=28,
    ),
    Mutant(
        "BM-067",
        "a leader reads without asking whether it still leads",
        (
            Change(
                f"{_CORE}.reads:_is_confirmed", "if replica.membership is None:\n        return False", "return True"
            ),
        ),
        "lapses",
        median=13,
        near=13,
    ),
    Mutant(
        "BM-078",
        "a snapshot that is being written sees later writes than its index",
        (
            Change(
                "zraft.machine.overlay:Overlay.__setitem__",
                "self._changed[key] = value",
                "self._below[key] = value",
            ),
        ),
        "snapshots",
        median=2,
    ),
    Mutant(
        "BM-068",
        "a client is told that its session lives when the end of it is already appended",
        (
            Change("zraft.peer.keeper:Keeper.run", "elif session.id in self._endings:", "elif False:"),
            Change("zraft.peer.keeper:Keeper._of_session", "elif ending is not None:", "elif False:"),
        ),
        "sessions",
        median=6,
        near=5,
    ),
    Mutant(
        "BM-070",
        "a new leader goes on with deadlines that are over",
        (Change("zraft.peer.keeper:Keeper._grant_all", "now + session.timeout_ms", "now"),),
        "sessions",
        median=1,
    ),
    Mutant(
        "BM-071",
        "deadlines are compared with a clock that jumps by an hour",
        (
            Change(
                f"{_PEER}.turn", "self.keeper.turn(now)", "self.keeper.turn(now + (wall // 1000 % 5 == 0) * 3_600_000)"
            ),
        ),
        "sessions",
        median=1,
    ),
    Mutant(
        "BM-074",
        "a lock that is taken again after a lost answer has another token than the entry that took it",
        (
            Change(
                "zraft.peer.desk:Desk._applied_items", "outcome.index, [outcome.outcome]", "index, [outcome.outcome]"
            ),
        ),
        "sessions",
        median=1,
    ),
    Mutant(
        "tokens",
        "a later session has a lower id",
        (
            Change(
                "zraft.session.sessions:Sessions.open",
                "session = Session(index,",
                "index = 1_000_000 - index; session = Session(index,",
            ),
        ),
        "sessions",
        median=1,
    ),
    Mutant(
        "lock",
        "a transaction acts though its condition does not hold, and two have one lock",
        (Change("zraft.machine.table_txn:txn", "succeeded = all(holds)", "succeeded = any(holds) or ctx.temporary"),),
        "sessions",
        median=1,
    ),
    Mutant(
        "BM-076",
        "a write that is sent again runs again",
        (Change("zraft.session.sessions:Sessions.admit", "if sequence <= session.last:", "if False:"),),
        "sessions",
        median=1,
    ),
    Mutant(
        "BM-082",
        "a watch outlives the leadership in which it was set",
        (Change("zraft.peer.keeper:Keeper.lose", "self.watches.close()", "pass"),),
        "sessions",
        median=5,
        near=9,
    ),
    Mutant(
        "BM-083",
        "of many changes at once one is lost",
        (
            Change(
                "zraft.peer.keeper:Keeper.applied",
                "self.watches.fire(changes)",
                "self.watches.fire(changes[1:])",
            ),
        ),
        "sessions",
        median=1,
    ),
    Mutant(
        "BM-084",
        "what is removed fires no watch",
        (
            Change(
                "zraft.peer.watches:Watches.fire",
                "for key in keys:",
                "for key in [key for key in keys if type(key) is not Change or key.kind == 'put']:",
            ),
        ),
        "sessions",
        median=1,
    ),
    *STREAMS,
    Mutant(
        "BM-090",
        "the leader counts itself before its disk is done",
        (
            Change(
                f"{_CORE}.replication:advance_commit",
                "else replica.saves.durable_index",
                "else replica.log.last_index",
            ),
        ),
        median=1,
    ),
    Mutant(
        "BM-091",
        "the journal reports entries durable that it has not synced",
        (Change("zraft.storage.journal:Journal.take", "writes += map(SyncFile, touched)", "writes += ()"),),
        "crashes",
        median=1,
    ),
    Mutant(
        "BM-093",
        "a sync that failed counts as done",
        (
            Change(
                "zraft.storage.store:Store.completed",
                "if completion.error is not None:",
                "if completion.error is not None and 'SyncFile' not in completion.error.operation:",
            ),
        ),
        "disk",
        median=6,
    ),
    Mutant(
        "BM-095",
        "corruption is taken for the end of the log",
        (Change("zraft.storage.replay:Trace.fail", "self.fault = self.fault or error", "pass"),),
        "rot",
        median=2,
    ),
    Mutant(
        "BM-100",
        "the folder is not synced after a segment was created",
        (Change("zraft.storage.journal:Journal.next_slice", "SyncFile(name), SyncFolder()", "SyncFile(name)"),),
        "crashes",
        median=1,
    ),
    Mutant(
        "BM-112",
        "a message that was lost keeps its place in the window",
        (Change(f"{_CORE}.replication:recover_lost", "progress.lose_flights()", "pass"),),
        median=15,
    ),
    Mutant(
        "silence",
        "a quiet follower is not told that its leader's node is silent",
        (Change("zraft.core.quiet:on_node_silent", "if _trusts(role, event.node):", "if False:"),),
        "quiet",
        median=3,
    ),
    Mutant(
        "loyalty",
        "a quiet follower stays loyal to a leader whose node was started anew, or does not lead",
        (
            Change("zraft.core.quiet:on_node_restarted", "if _trusts(role, event.node):", "if False:"),
            Change("zraft.core.quiet:on_rouse", "if role.is_quiet:", "if False:"),
        ),
        "quiet",
        median=29,
    ),
)

SIMULATED = (*MUTANTS, *VOTES, *LOGS, *DISKS)
"""Those that the simulator has to find."""

ALL_MUTANTS = (*SIMULATED, *PLAYED)

SEEDS = 300
"""Within so many seeds every simulated mutant must be found."""
