"""Elections (§3.4), pre-vote (§9.6), leader stickiness (§4.2.3), and stepping down without a quorum (§6.2).

Votes are a set of members, each counted once and only in the term that asked for it. The own vote counts when it is
durable, like everybody's. A vote is *granted* in `on_request_vote`; it becomes *durable* because the reply goes into
`send_after_save`, together with the hard state that `Replica.vote_for` marks as due.
"""

from __future__ import annotations

from zraft.core import departure, quorum, replication
from zraft.core.entries import Batch, Kind
from zraft.core.messages import (
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from zraft.core.progress import Progress
from zraft.core.quorum import VoteResult
from zraft.core.replica import Replica
from zraft.core.roles import Candidate, Follower, Leader, PreCandidate
from zraft.types import Member


def on_election_timeout(replica: Replica) -> None:
    """Nobody led for an election timeout, or an election did not end: campaign, where this replica may."""
    if not may_campaign(replica):
        replica.become_follower(None)
        if not replica.is_voter:
            departure.ask_around(replica)
        return
    start_pre_vote(replica)


def may_campaign(replica: Replica) -> bool:
    """Learners, removed and blank replicas never lead (M5); nor one whose disk stalls, or whose state is half there.

    Nor one that lost part of its log and has not got it back (BM-095), or that is about to be gone.
    """
    if replica.abstains_below:
        return False
    if replica.has_left:
        return False
    stalled = replica.saves.stalled_for(replica.now) > 2 * replica.settings.election_timeout_ms
    return (replica.is_voter or _is_needed_once_more(replica)) and replica.restoring is None and not stalled


def _is_needed_once_more(replica: Replica) -> bool:
    """A voter whose own log ends its membership, uncommitted as far as it knows, still campaigns (§4.2.2).

    It may be the only one with that entry: the others then refuse to vote for anybody whose log lacks it, and nobody
    who has it would be left to lead. It does not count itself, and steps down once the entry is committed.
    """
    index = replica.memberships.current_index
    _, before = replica.memberships.as_of(index - 1)
    return index > replica.commit_index and before is not None and before.is_voter(replica.me)


def start_pre_vote(replica: Replica) -> None:
    """Ask every other voter whether it would vote for this replica in the next term (§9.6)."""
    replica.become_follower(None)
    replica.role = role = PreCandidate(election_due_ms=0, votes={replica.me: True})
    replica.reset_election_timer()
    last_index, last_term = replica.log.last_index, replica.log.last_term
    for voter in _other_voters(replica):
        replica.send_now(PreVote(replica.me, voter, replica.current_term + 1, last_index, last_term))
    _count_pre_votes(replica, role)


def on_pre_vote(replica: Replica, message: PreVote) -> None:
    """Granted where the log suffices, the term would be new, and no leader was heard from within an election timeout.

    A refusal carries the own term, so that a server with the longer log and the lower term learns it (BM-109).
    Who was removed is told that instead.
    """
    if departure.answer_stranger(replica, message.sender):
        return
    granted = (
        message.term > replica.current_term
        and not replica.abstains_below
        and not is_led(replica)
        and replica.log.is_up_to_date(message.last_index, message.last_term)
    )
    term = message.term if granted else replica.current_term
    replica.send_now(PreVoteReply(replica.me, message.sender, term, granted))


def on_pre_vote_reply(replica: Replica, message: PreVoteReply) -> None:
    """Only grants for the very term that was asked about count (BM-004)."""
    role = replica.role
    if type(role) is not PreCandidate or (message.granted and message.term != replica.current_term + 1):
        return
    _note(role.votes, message)
    _count_pre_votes(replica, role)


def _count_pre_votes(replica: Replica, role: PreCandidate) -> None:
    if replica.membership is None:
        replica.violated("a pre-vote without a configuration")
    match quorum.vote_result(replica.membership, role.votes):
        case VoteResult.WON:
            start_election(replica, transfer=False)
        case VoteResult.LOST:
            replica.become_follower(None)
        case VoteResult.PENDING:
            return


def start_election(replica: Replica, *, transfer: bool) -> None:
    """Term + 1, vote for itself, ask all (§3.4). The requests wait until term and vote are durable."""
    replica.become_follower(None)
    replica.set_term(replica.current_term + 1)
    replica.vote_for(replica.me)
    replica.role = Candidate(election_due_ms=0, own_vote_save=replica.saves.issued + 1)
    replica.reset_election_timer()
    last_index, last_term = replica.log.last_index, replica.log.last_term
    replica.fact(f"campaigns in term {replica.current_term} with log ({last_index}, {last_term})")
    for voter in _other_voters(replica):
        replica.send_now(RequestVote(replica.me, voter, replica.current_term, last_index, last_term, transfer))


def on_request_vote(replica: Replica, message: RequestVote) -> None:
    """One vote per term, first come, and only for a log at least as up to date (§3.4, §3.6.1).

    The term rule has run: `message.term` is the current one. A leader or candidate has voted for itself (BM-009). Who
    lost part of its log cannot compare it, and abstains (BM-095).
    """
    granted = (
        replica.voted_for in (None, message.sender)
        and not replica.abstains_below
        and replica.log.is_up_to_date(message.last_index, message.last_term)
    )
    if not granted:
        replica.send_now(RequestVoteReply(replica.me, message.sender, replica.current_term, False))
        return
    replica.vote_for(message.sender)
    replica.reset_election_timer()
    replica.fact(f"votes for {message.sender} in term {replica.current_term}")
    replica.send_after_save(RequestVoteReply(replica.me, message.sender, replica.current_term, True))


def on_request_vote_reply(replica: Replica, message: RequestVoteReply) -> None:
    """A vote of the current term (the term rule has dropped others, BM-005)."""
    role = replica.role
    if type(role) is Candidate:
        _note(role.votes, message)
        _count_votes(replica, role)


def _note(votes: dict[Member, bool], reply: PreVoteReply | RequestVoteReply) -> None:
    """A grant stays; a refusal may have answered an earlier request, so that a grant can still follow it."""
    votes[reply.sender] = reply.granted or votes.get(reply.sender, False)


def on_saved(replica: Replica) -> None:
    """A candidate's own vote may have become durable."""
    role = replica.role
    if type(role) is Candidate and replica.saves.completed >= role.own_vote_save and replica.me not in role.votes:
        role.votes[replica.me] = True
        _count_votes(replica, role)


def _count_votes(replica: Replica, role: Candidate) -> None:
    if replica.membership is None:
        replica.violated("an election without a configuration")
    match quorum.vote_result(replica.membership, role.votes):
        case VoteResult.WON:
            become_leader(replica)
        case VoteResult.LOST:
            replica.become_follower(None)
        case VoteResult.PENDING:
            return


def become_leader(replica: Replica) -> None:
    """Lead the current term: append a no-op at once (§3.6.2) and tell everybody (§3.4)."""
    if type(replica.role) is not Candidate or replica.membership is None:
        replica.violated(f"would lead as {replica.role_name.value}")
    now, settings = replica.now, replica.settings
    term_start = replica.log.last_index + 1
    _, before = replica.memberships.as_of(replica.memberships.current_index - 1)
    replica.role = role = Leader(
        progress={
            member: Progress(term_start, now) for member in replica.membership.everyone() if member != replica.me
        },
        term=replica.current_term,
        term_start=term_start,
        time_offset=replica.time_seen - now,
        heartbeat_due_ms=now + settings.heartbeat_ms,
        quorum_due_ms=now + settings.election_timeout_ms,
        departed=departure.left_out(before, replica.membership),
    )
    replica.uncommitted_bytes = replica.log.payload_bytes_after(replica.commit_index)
    replica.fact(f"leads term {replica.current_term} from index {term_start}")
    replica.append(
        Batch(term_start, 1, replica.current_term, replication.leader_time(replica, role), 0, Kind.NOOP, b"")
    )
    replication.broadcast_heartbeat(replica, role)
    replication.broadcast_append(replica, role)


def check_quorum(replica: Replica, role: Leader) -> None:
    """A leader that no majority answered for an election timeout steps down (§6.2, BM-108)."""
    if replica.now < role.quorum_due_ms or replica.membership is None:
        return
    since = replica.now - replica.settings.election_timeout_ms

    def answers(member: Member) -> bool:
        progress = role.progress.get(member)
        return member == replica.me or (progress is not None and progress.contact_ms >= since)

    if not quorum.has_quorum(replica.membership, answers):
        silent = ", ".join(str(m) for m in replica.membership.everyone() if not answers(m))
        replica.fact(f"steps down from term {replica.current_term}: no answer from {silent}")
        replica.become_follower(None)


def check_disk(replica: Replica, role: Leader) -> None:
    """A leader whose disk stalls hands over to the best follower, if another voter exists (BM-099)."""
    if replica.saves.stalled_for(replica.now) <= 2 * replica.settings.election_timeout_ms:
        return
    heir = best_successor(replica, role)
    if heir is not None:
        replica.fact(f"steps down from term {replica.current_term}: its disk stalls; {heir} should take over")
        replica.send_now(TimeoutNow(replica.me, heir, replica.current_term))
        replica.become_follower(None)


def best_successor(replica: Replica, role: Leader) -> Member | None:
    """The voter that answered within an election timeout and has most of the log; None where nobody else votes."""
    if replica.membership is None:
        return None
    since = replica.now - replica.settings.election_timeout_ms
    fresh = [
        (role.progress[voter].match_index, -order, voter)
        for order, voter in enumerate(replica.membership.voters)
        if voter != replica.me and voter in role.progress and role.progress[voter].contact_ms >= since
    ]
    return max(fresh)[2] if fresh else None


def is_led(replica: Replica) -> bool:
    """This replica leads, or heard from a leader within the least election timeout (§4.2.3).

    A quiet follower hears of its leader through the leader's node.
    """
    if type(replica.role) is Leader or replica.role.is_quiet:
        return True
    seen = replica.leader_seen_ms
    return seen is not None and replica.now - seen < replica.settings.election_timeout_ms


def heard_leader(replica: Replica, leader: Member) -> Follower:
    """A valid request of this term's leader arrived: follow it. Two leaders in one term stop the peer (BM-011)."""
    role = replica.role
    if type(role) is Follower and role.leader == leader:
        pass
    elif type(role) is Leader or replica.leader is not None:
        replica.violated(f"two leaders: {replica.leader} and {leader}")
    else:
        replica.become_follower(leader)
    replica.leader_seen_ms = replica.now
    replica.reset_election_timer()
    if type(replica.role) is not Follower:
        replica.violated(f"hears {leader} as {replica.role_name.value}")
    return replica.role


def _other_voters(replica: Replica) -> list[Member]:
    membership = replica.membership
    if membership is None:
        return []
    voters = dict.fromkeys((*membership.voters, *membership.outgoing))
    return [voter for voter in voters if voter != replica.me]
