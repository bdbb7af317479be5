"""Votes go to logs that are up to date, and once per term.

Formula: grant(voter, candidate, T) => (last_term, last_index) of the request >= those of the voter's log; all grants
of one voter in T name one candidate, whatever it forgot in between. Source: §3.6.1, §3.8; I7, I10, BM-001, BM-003.
Looked at when a grant is put into the output; the second half also across restarts.
"""

from __future__ import annotations

from zraft.core.events import Received
from zraft.core.messages import RequestVote, RequestVoteReply
from zraft.sim.checks.ghost import Step, Violation
from zraft.types import Member, Term


class Votes:
    """The votes that were ever granted."""

    def __init__(self) -> None:
        self._granted: dict[tuple[Member, Term], Member] = {}

    def check(self, step: Step) -> None:
        """Grants in this step's output."""
        for messages in (step.out.send_now, step.out.send_after_save):
            for message in messages:
                if type(message) is RequestVoteReply and message.granted:
                    self._grant(step, message)

    def _grant(self, step: Step, reply: RequestVoteReply) -> None:
        other = self._granted.setdefault((reply.sender, reply.term), reply.to)
        if other != reply.to:
            raise Violation("one vote per term", f"{reply.sender} in term {reply.term}: {other}, then {reply.to}")
        event = step.event
        if type(event) is not Received or type(event.message) is not RequestVote or event.message.sender != reply.to:
            raise Violation("votes", f"{reply} answers {event}")
        request, end = event.message, step.node.log.end
        if (request.last_term, request.last_index) < (end.term, end.last):
            raise Violation("up-to-date votes", f"{reply.sender} with {end} votes for {request}")

    def check_candidate(self, step: Step) -> None:
        """A candidate's vote for itself counts like any other."""
        replica = step.replica
        if replica.voted_for == replica.me and (step.node.term, step.node.voted_for) != (
            replica.current_term,
            replica.me,
        ):
            other = self._granted.setdefault((replica.me, replica.current_term), replica.me)
            if other != replica.me:
                raise Violation("one vote per term", f"{replica.me} votes for itself after {other}")
