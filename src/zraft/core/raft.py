"""The only door: `Raft.step(now, event) -> Output`. No other method changes a replica.

    raft = Raft(me, settings, recovered, seed=..., now=...)
    output = raft.step(now, TimePassed())        carry out, in the order that `output` documents
    output = raft.step(now, Received(message))

A broken invariant raises ReplicaFault; from then on every step does: the peer is stopped, its data is left alone.
"""

from __future__ import annotations

from zraft.core import departure, invariants, quiet, terms
from zraft.core.entries import Membership, SnapshotMark
from zraft.core.events import Event, Received
from zraft.core.log import Log
from zraft.core.memberships import MembershipHistory
from zraft.core.output import Output, RoleName
from zraft.core.recovered import RaftSettings, Recovered
from zraft.core.replica import Replica
from zraft.core.roles import Role
from zraft.core.saves import Saves
from zraft.core.table import EVENTS, MESSAGES
from zraft.errors import ReplicaFault
from zraft.types import Index, Member, Millis, Term


class Raft:
    """One member of one group, from its start until its process ends or a fault stops it."""

    __slots__ = ("_fault", "replica")

    def __init__(self, me: Member, settings: RaftSettings, recovered: Recovered, *, seed: int, now: Millis) -> None:
        """`me` with the incarnation that its data was born with; `seed` differs from start to start."""
        self.replica = Replica(me, settings, recovered, seed=seed, now=now)
        self._fault: ReplicaFault | None = None

    def step(self, now: Millis, event: Event) -> Output:
        """Let `event` happen at local monotonic time `now` (ms; an earlier one than before counts as the same).

        Returns what is to be done, in the order of `Output`. Raises ReplicaFault where an invariant is broken.
        """
        if self._fault is not None:
            raise self._fault
        replica = self.replica
        if now > replica.now:
            replica.now = now
        before = (replica.current_term, replica.voted_for, replica.commit_index)
        try:
            if replica.role.is_quiet:
                quiet.disturb(replica, event)
            if type(event) is Received:
                message = event.message
                if replica.has_left:
                    departure.on_message_after(replica, message)
                elif terms.admit(replica, message):
                    MESSAGES[type(message)][type(replica.role)](replica, replica.role, message)
            else:
                EVENTS[type(event)][type(replica.role)](replica, replica.role, event)
            invariants.check_step(replica, invariants.Watermarks(*before))
        except ReplicaFault as fault:
            self._fault = fault
            raise
        return replica.finish()

    def start(self) -> Output:
        """The first output: the role, and when time matters. To be called once, before any step."""
        return self.replica.finish()

    @property
    def me(self) -> Member:
        """This replica's identity."""
        return self.replica.me

    @property
    def current_term(self) -> Term:
        """Latest term seen."""
        return self.replica.current_term

    @property
    def voted_for(self) -> Member | None:
        """Whom it voted for in the current term."""
        return self.replica.voted_for

    @property
    def abstains_below(self) -> Term:
        """It lost part of its log: it does not vote before that ends with an entry of this term; 0: it votes."""
        return self.replica.abstains_below

    @property
    def commit_index(self) -> Index:
        """Last index known to be committed."""
        return self.replica.commit_index

    @property
    def role(self) -> Role:
        """The role with its data; not to be changed from outside."""
        return self.replica.role

    @property
    def role_name(self) -> RoleName:
        """The role as users see it."""
        return self.replica.role_name

    @property
    def leader(self) -> Member | None:
        """Leader of the current term, as far as known; itself while leading."""
        return self.replica.leader

    @property
    def log(self) -> Log:
        """The log; not to be changed from outside."""
        return self.replica.log

    @property
    def saves(self) -> Saves:
        """What the disk has proved; not to be changed from outside."""
        return self.replica.saves

    @property
    def snapshot(self) -> SnapshotMark:
        """The newest durable snapshot."""
        return self.replica.snapshot

    @property
    def membership(self) -> Membership | None:
        """The configuration in force; None while blank."""
        return self.replica.membership

    @property
    def memberships(self) -> MembershipHistory:
        """Every configuration that the log still knows; not to be changed from outside."""
        return self.replica.memberships

    @property
    def time(self) -> Millis:
        """Largest replicated time seen."""
        return self.replica.time_seen
