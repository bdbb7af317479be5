"""The state of one replica that outlives its roles, and the few moves that every topic shares.

Topics (election, replication, following, …) are functions over a `Replica`. They read and change it synchronously and
put what is to be done into `out`; nobody but `raft.Raft` creates one or calls them from outside.
"""

from __future__ import annotations

from typing import NoReturn

from zraft.core.chance import Chance
from zraft.core.entries import Batch, HardState, Membership, SnapshotMark
from zraft.core.log import Log
from zraft.core.memberships import MembershipHistory
from zraft.core.messages import Message
from zraft.core.output import Output, Refusal, Refused, RoleChange, RoleName
from zraft.core.recovered import RaftSettings, Recovered
from zraft.core.roles import Candidate, Follower, Leader, PreCandidate, Role
from zraft.core.saves import Saves
from zraft.errors import InvariantViolation
from zraft.types import Index, Member, Millis, Term


class Replica:
    """Term, vote, log, configuration and role of one member of one group."""

    __slots__ = (
        "abstains_below",
        "has_left",
        "chance",
        "commit_index",
        "current_term",
        "is_hard_state_due",
        "leader_seen_ms",
        "log",
        "me",
        "memberships",
        "next_read",
        "now",
        "out",
        "restoring",
        "role",
        "saves",
        "settings",
        "snapshot",
        "time_seen",
        "told_basis",
        "told_role",
        "uncommitted_bytes",
        "voted_for",
    )

    def __init__(self, me: Member, settings: RaftSettings, recovered: Recovered, *, seed: int, now: Millis) -> None:
        self.me = me
        self.settings = settings
        self.chance = Chance(seed)
        self.now = now
        """Local monotonic milliseconds of the present step. Never decreases."""
        self.current_term: Term = recovered.hard_state.term
        self.voted_for: Member | None = recovered.hard_state.voted_for
        """In `current_term`. Changes only with the term, or from None (I10)."""
        self.abstains_below: Term = recovered.hard_state.abstains_below
        """It grants no vote and never campaigns before its log ends with an entry of this term (`abstention`)."""
        self.has_left = False
        """It was left out of its group, and is about to be gone."""
        self.log = Log(recovered)
        self.memberships = MembershipHistory(recovered)
        self.snapshot: SnapshotMark = recovered.mark
        """The newest durable snapshot of this replica."""
        self.restoring: SnapshotMark | None = None
        """A snapshot that is being fetched and installed."""
        self.commit_index: Index = recovered.mark.index
        """Volatile (§3.8): a restarted replica learns it again."""
        self.saves = Saves(self.log.last_index)
        self.time_seen: Millis = recovered.time
        """Largest replicated time seen so far."""
        self.leader_seen_ms: Millis | None = None
        """When a leader of the current term was last heard from; None: not since the start."""
        self.uncommitted_bytes = 0
        """Payload in the log that is not yet committed, of whatever term (R2); only kept while leading."""
        self.next_read = self.chance.bits() >> 2
        """Numbers for reads that a leader is asked about; begins by chance, so that no reply meets a later life."""
        self.is_hard_state_due = False
        self.out = Output()
        self.role: Role = Follower(election_due_ms=now)
        self.told_role: tuple[RoleName, Term, Member | None] | None = None
        self.told_basis: tuple[Role, Term, Member | None, Membership | None] | None = None
        """What `told_role` was made of: steps that change none of it need not make it anew."""
        self.reset_election_timer()
        if self.log.last_term > self.current_term:
            self.violated(f"hard state has term {self.current_term}, the log {self.log.last_term} (BM-002)")
        if self.membership is not None and self.membership.is_stable and self.membership.voters == (me,):
            self.role.election_due_ms = now  # the only voter has nobody to wait for
        if self.abstains_below and self.log.last_term >= self.abstains_below:
            self.end_abstention()

    @property
    def membership(self) -> Membership | None:
        """The configuration in force; None while blank."""
        return self.memberships.current

    @property
    def is_voter(self) -> bool:
        """The configuration in force counts this replica's vote."""
        membership = self.memberships.current
        return membership is not None and membership.is_voter(self.me)

    @property
    def leader(self) -> Member | None:
        """The leader of the current term, as far as known; itself while leading."""
        role = self.role
        if type(role) is Follower:
            return role.leader
        return self.me if type(role) is Leader else None

    @property
    def role_name(self) -> RoleName:
        """The role as users see it."""
        match self.role:
            case Leader():
                return RoleName.LEADER
            case Candidate():
                return RoleName.CANDIDATE
            case PreCandidate():
                return RoleName.PRE_CANDIDATE
            case _:
                if self.abstains_below:
                    return RoleName.LOADING
                if self.membership is None:
                    return RoleName.BLANK
                return RoleName.FOLLOWER if self.is_voter else RoleName.LEARNER

    def set_term(self, term: Term) -> None:
        """Adopt a larger term, in which no vote is cast yet (§3.3)."""
        if term <= self.current_term:
            self.violated(f"term would change from {self.current_term} to {term}")
        self.current_term, self.voted_for = term, None
        self.leader_seen_ms = None
        self.is_hard_state_due = True

    def vote_for(self, member: Member) -> None:
        """Cast the vote of this term; to be durable before anybody hears of it."""
        if self.voted_for not in (None, member):
            self.violated(f"second vote in term {self.current_term}: {member} after {self.voted_for}")
        if self.voted_for is None:
            self.voted_for = member
            self.is_hard_state_due = True

    def end_abstention(self) -> None:
        """The log is as if nothing had been lost (`abstention`)."""
        self.abstains_below = 0
        self.is_hard_state_due = True
        self.told_basis = None
        self.fact(f"has again what it lost: it votes, with {self.log!r}")

    def leave(self, index: Index) -> None:
        """It belongs to its group no longer, as of this committed entry, and takes no part any more (`departure`)."""
        self.has_left = True
        self.out.left = index

    def become_follower(self, leader: Member | None) -> None:
        """Follow `leader` (None: not known yet) in the current term. Reads and changes under way are given up."""
        old = self.role
        self.role = Follower(election_due_ms=0, leader=leader)
        self.reset_election_timer()
        if type(old) is Leader:
            self.uncommitted_bytes = 0
            self._give_up(old)
        elif type(old) is Follower:
            for ref, _ in old.reads.values():
                self.refuse(ref, Refusal.NOT_LEADER)

    def _give_up(self, leader: Leader) -> None:
        for read in (*leader.reads, *leader.next_reads):
            if read.asker is None:
                self.refuse(read.ref, Refusal.NOT_LEADER)
        for ref in leader.change_refs:
            self.refuse(ref, Refusal.LOST)
        if leader.transfer is not None:
            if leader.transfer.is_told and self.current_term > leader.term:
                self.out.transferred.append(leader.transfer.ref)
            else:
                self.refuse(leader.transfer.ref, Refusal.LOST)

    def reset_election_timer(self) -> None:
        """Campaign after a random 1 to 2 election timeouts from now (§3.4). The leader has no such timer."""
        if type(self.role) is not Leader:
            timeout = self.settings.election_timeout_ms
            self.role.election_due_ms = self.now + timeout + self.chance.below(timeout)

    def append(self, batch: Batch) -> None:
        """Add a batch to the log, and to what this step saves. A configuration takes effect at once."""
        self.log.append(batch)
        self.out.append.append(batch)
        self.time_seen = max(self.time_seen, batch.time)

    def send_now(self, message: Message) -> None:
        """Send once every hard state issued so far is durable."""
        self.out.send_now.append(message)

    def send_after_save(self, message: Message) -> None:
        """Send once everything issued so far is durable: the message promises it (§3.8)."""
        self.out.send_after_save.append(message)

    def refuse(self, ref: int, why: Refusal) -> None:
        """Tell the caller of `ref` that nothing was or will be done."""
        leader = self.leader
        self.out.refused.append(Refused(ref, why, leader if leader != self.me else None))

    def fact(self, text: str) -> None:
        """Something worth a log line."""
        self.out.facts.append(text)

    def violated(self, what: str) -> NoReturn:
        """An invariant of Raft does not hold here: this replica must not go on."""
        raise InvariantViolation(f"{self.me} in term {self.current_term}: {what}")

    def finish(self) -> Output:
        """Close the step: number its save, say what changed, and when time alone matters next."""
        out = self.out
        self.out = Output()
        if self.is_hard_state_due:
            self.is_hard_state_due = False
            out.hard_state = HardState(self.current_term, self.voted_for, self.abstains_below)
        if out.hard_state is not None or out.append or out.truncate_from or out.reset_to is not None:
            out.save = self.saves.issue(self.log.last_index, self.now)
        if out.commit_to:
            self.log.evict(self.settings.cache_bytes, keep_from=self.commit_index + 1)
        role = self.role
        basis = (role, self.current_term, self.leader, self.memberships.current)
        if basis != self.told_basis:
            self.told_basis = basis
            told = (self.role_name, self.current_term, self.leader)
            if told != self.told_role:
                self.told_role = told
                out.role_change = RoleChange(*told)
        out.wake_at_ms = role.heartbeat_due_ms if type(role) is Leader else role.election_due_ms
        return out
