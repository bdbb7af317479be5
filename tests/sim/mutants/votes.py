"""Bugs of votes and of who may lead, that are put back."""

from __future__ import annotations

from tests.sim.mutants.mutation import Change, Mutant

_ELECTION = "zraft.core.election"
_NO_PRE_VOTE = Change(
    f"{_ELECTION}:on_election_timeout", "start_pre_vote(replica)", "start_election(replica, transfer=False)"
)

VOTES = (
    Mutant(
        "BM-004",
        "the late grant of a pre-vote counts as a vote",
        (
            Change(
                "zraft.core.terms:admit",
                "    if message.term > replica.current_term:\n",
                "    if isinstance(message, PreVoteReply) and message.granted and"
                " message.term == replica.current_term:\n"
                "        election.on_request_vote_reply(replica, message)\n"
                "        return False\n"
                "    if message.term > replica.current_term:\n",
            ),
        ),
        "elections",
        median=1,
    ),
    Mutant(
        "BM-006",
        "a vote that arrives twice counts twice",
        (
            Change(
                f"{_ELECTION}:on_request_vote_reply",
                "        _note(role.votes, message)\n",
                "        if message.granted and role.votes.get(message.sender) and replica.membership:\n"
                "            others = [voter for voter in replica.membership.voters if voter not in role.votes]\n"
                "            role.votes.update(dict.fromkeys(others[:1], True))\n"
                "        _note(role.votes, message)\n",
            ),
        ),
        "elections",
        median=7,
        near=32,
    ),
    Mutant(
        "BM-107",
        "nobody asks before it campaigns, and everybody listens although it has a leader",
        (_NO_PRE_VOTE, Change("zraft.core.terms:_admit_newer", " and election.is_led(replica)", " and False")),
        "shapes",
        median=1,
    ),
    Mutant(
        "BM-108",
        "a leader that reaches no majority goes on",
        (Change(f"{_ELECTION}:check_quorum", "if replica.now < role.quorum_due_ms or", "if True or"),),
        "shapes",
        median=4,
        near=4,
    ),
    Mutant(
        "BM-109",
        "who refuses a pre-vote is not asked in which term it is",
        (
            Change(
                "zraft.core.terms:_admit_newer",
                "isinstance(message, PreVoteReply) and message.granted",
                "isinstance(message, PreVoteReply)",
            ),
        ),
        "adverse",
        median=2,
        near=1,
    ),
)
