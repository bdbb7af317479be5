"""A group of three as the checks see it: real replicas that take no step, and a ghost that is told of made-up ones."""

from __future__ import annotations

from zraft.core.entries import Batch, HardState, Kind, Membership
from zraft.core.events import Event, TimePassed
from zraft.core.memberships import encode_membership
from zraft.core.output import Output, RoleChange, RoleName
from zraft.core.progress import Progress
from zraft.core.recovered import RaftSettings, Recovered
from zraft.core.replica import Replica
from zraft.core.roles import Follower, Leader
from zraft.session.items import encode_items
from zraft.sim.checks.ghost import START, GhostNode, GhostSave, Ledger, Mark, Step, mark_after
from zraft.types import Index, Member, PeerId, Term
from zraft.wire.values import encode_value

A, B, C, D = (Member(PeerId("p", f"{name}:1"), number) for number, name in enumerate("abcd", 1))
ABC = Membership((A, B, C))


def batch(first: Index, term: Term, payload: bytes = b"x", kind: int = Kind.COMMANDS, count: int = 1) -> Batch:
    return Batch(first, count, term, 0, 0, kind, payload)


def configuration(first: Index, term: Term, membership: Membership) -> Batch:
    return batch(first, term, encode_membership(membership), Kind.CONFIGURATION)


def command(term: Term) -> bytes:
    """The payload of a batch that puts `term` under "k"."""
    return encode_items([encode_value(("k", term))])


class Scene:
    """`log` of a member: entry 1 is the configuration, what follows are commands of the given terms."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.replicas: dict[Member, Replica] = {}
        for member in (A, B, C, D):
            self.ledger.node(member)
            self.replicas[member] = Replica(member, RaftSettings(), Recovered(), seed=1, now=1)

    def node(self, member: Member) -> GhostNode:
        return self.ledger.nodes[member]

    def give(self, member: Member, *terms: Term, durable: bool = True, membership: Membership = ABC) -> list[Mark]:
        """The member's log becomes the configuration in term 1 and a command of each of `terms`."""
        batches = [configuration(1, 1, membership)]
        batches += [batch(place, term, command(term)) for place, term in enumerate(terms, 2)]
        node, marks = self.node(member), list[Mark]()
        node.log.truncate_from(1)
        node.disk.truncate_from(1)
        for each in batches:
            mark = mark_after(marks[-1] if marks else START, each)
            marks.append(mark)
            self.ledger.known[mark.last, mark.term] = mark
            node.log.append(mark)
            if durable:
                node.disk.append(mark)
        return marks

    def commit(self, marks: list[Mark], term: Term) -> None:
        for mark in marks:
            self.ledger.committed.append(mark)
            self.ledger.commit_terms.append(term)

    def lead(self, member: Member, term: Term, *followers: Member) -> Leader:
        """The replica leads `term` from the end of its ghost's log."""
        replica = self.replicas[member]
        replica.current_term = term
        last = self.node(member).log.end.last
        role = Leader(
            progress={follower: Progress(last + 1, 1) for follower in followers},
            term=term,
            term_start=last,
            time_offset=0,
            heartbeat_due_ms=0,
            quorum_due_ms=0,
        )
        replica.role = role
        return role

    def follow(self, member: Member, term: Term) -> None:
        replica = self.replicas[member]
        replica.current_term, replica.role = term, Follower(election_due_ms=0)

    def step(self, member: Member, out: Output | None = None, event: Event | None = None) -> Step:
        return Step(self.ledger, self.node(member), self.replicas[member], event or TimePassed(), out or Output())

    def save(self, member: Member, number: int, *, truncate_from: Index = 0, term: Term = 0) -> None:
        """A save of the member is under way."""
        hard_state = HardState(term) if term else None
        self.node(member).saves.append(GhostSave(number, hard_state, truncate_from, None, []))


def changed(term: Term, leader: Member | None) -> RoleChange:
    return RoleChange(RoleName.LEADER, term, leader)
