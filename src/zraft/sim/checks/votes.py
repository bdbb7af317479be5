"""Votes go to logs that are up to date, and once per term; who leads has a majority of them.

Formula: grant(voter, candidate, T) => (last_term, last_index) of the request >= those of the voter's log; all grants
of one voter in T name one candidate, whatever it forgot in between; who begins to lead T has the
votes of T of a majority of each voter set. Source: §3.4, §3.6.1, §3.8, §4.3; I7, I10, BM-001, BM-003 to BM-006.
The first half is looked at when a grant is put into the output; the second when a grant, or a candidate's request,
leaves the node: what never left before a crash was no vote. It holds across restarts.
"""

from __future__ import annotations

from zraft.core.events import Received
from zraft.core.messages import Message, RequestVote, RequestVoteReply
from zraft.sim.checks.ghost import Step, Violation
from zraft.types import Member, Term


def check_grants(step: Step) -> None:
    """Grants in this step's output answer a request of a log that is up to date."""
    for messages in (step.out.send_now, step.out.send_after_save):
        for message in messages:
            if type(message) is RequestVoteReply and message.granted:
                _check_grant(step, message)


def _check_grant(step: Step, reply: RequestVoteReply) -> None:
    event = step.event
    if type(event) is not Received or type(event.message) is not RequestVote or event.message.sender != reply.to:
        raise Violation("votes", f"{reply} answers {event}")
    request, end = event.message, step.node.log.end
    if step.node.promised is not None:
        end = max(end, step.node.promised.end, key=lambda mark: (mark.term, mark.last))
    if (request.last_term, request.last_index) < (end.term, end.last):
        raise Violation("up-to-date votes", f"{reply.sender} with {end} votes for {request}")


class Votes:
    """The votes that were ever cast."""

    def __init__(self) -> None:
        self._cast: dict[tuple[Member, Term], Member] = {}

    def check_sent(self, message: Message) -> None:
        """A grant is a vote for its receiver, a candidate's request one for itself."""
        if type(message) is RequestVoteReply and message.granted:
            self._cast_one(message.sender, message.term, message.to)
        elif type(message) is RequestVote:
            self._cast_one(message.sender, message.term, message.sender)

    def check_leader(self, step: Step) -> None:
        """Who begins to lead has voted for itself, and has the votes of a majority of each voter set."""
        replica, node = step.replica, step.node
        if replica.leader != replica.me or node.leading == replica.current_term:
            return
        me, term = replica.me, replica.current_term
        self._cast_one(me, term, me)
        membership = node.log.configurations[-1].membership if node.log.configurations else None
        for voters in (membership.voters, membership.outgoing) if membership is not None else ():
            count = sum(self._cast.get((voter, term)) == me for voter in voters)
            if voters and count <= len(voters) // 2:
                raise Violation("quorum of votes", f"{me} leads term {term} with {count} of {len(voters)} votes")

    def _cast_one(self, voter: Member, term: Term, candidate: Member) -> None:
        other = self._cast.setdefault((voter, term), candidate)
        if other != candidate:
            raise Violation("one vote per term", f"{voter} in term {term}: {other}, then {candidate}")
