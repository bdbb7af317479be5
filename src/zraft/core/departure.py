"""Servers that belong to no configuration any more: how they hear of it, and that they disturb nobody (§4.2.2, §4.2.3).

A removed server is sent no further entries, so it never sees the configuration that ends its membership.

    leader      tells whom a configuration left out, as soon as that is committed
    removed     hears nobody, asks for pre-votes; whoever knows better answers `NotMember`, and it stops for good
    learner     dropped by a change that was given up: never campaigns, so it asks the voters that it knows of

`NotMember` names a committed entry: as of there, and in everything after it that its sender has, no configuration names
the addressee. That is proof where this position, by term and then index, is above the newest entry that does name it:
either the log of the group passed that entry, or another one took its place. An incarnation that was dropped may be
named again; it must then acknowledge the new configuration as a learner before it votes, so it knows better than any
late `NotMember`.

Who has believed it takes no part any more (`Replica.leave`): its host is about to put its data aside, as soon as what
is committed is applied, and whatever it stored or promised until then would be gone with that. It only still tells
others that they were left out.
"""

from __future__ import annotations

from zraft.core.entries import Membership
from zraft.core.messages import Message, NotMember, PreVote
from zraft.core.replica import Replica
from zraft.core.roles import Follower, Leader
from zraft.types import Member


def answer_stranger(replica: Replica, asker: Member) -> bool:
    """True where the asker is in no configuration that is or could come into force, and was told so."""
    committed = replica.memberships.as_of(replica.commit_index)[1]
    if committed is None or replica.memberships.names_from(replica.commit_index, asker):
        return False
    _tell(replica, asker)
    return True


def left_out(before: Membership | None, now: Membership) -> tuple[Member, ...]:
    """Who was in the configuration before and is not in this one."""
    present = now.everyone()
    return tuple(member for member in (before.everyone() if before is not None else ()) if member not in present)


def tell_departed(replica: Replica, role: Leader) -> None:
    """The stable configuration is committed: whom it left out hears of it."""
    for member in role.departed:
        if member != replica.me:
            _tell(replica, member)
    role.departed = ()


def _tell(replica: Replica, member: Member) -> None:
    index = replica.commit_index
    term = replica.log.term_at(index) or 0
    replica.send_now(NotMember(replica.me, member, replica.current_term, index, term))


def on_not_member(replica: Replica, message: NotMember) -> None:
    """Somebody knows that this replica was left out. Believed where that is newer than all that it knows of itself.

    Of one that was never named as far as it knows only the leader that it follows may say so: others may be behind.
    """
    named_at = replica.memberships.newest_naming(replica.me)
    role = replica.role
    if not named_at and not (type(role) is Follower and role.leader == message.sender):
        return
    named_term = replica.log.term_at(named_at)
    is_newer = message.index > named_at
    if named_at > replica.commit_index and named_term is not None:
        is_newer = (message.index_term, message.index) > (named_term, named_at)
    if is_newer:
        replica.fact(f"was left out of its group, says {message.sender} as of {message.index}")
        replica.leave(message.index)
        if type(role) is not Follower:
            replica.become_follower(None)


def on_message_after(replica: Replica, message: Message) -> None:
    """This replica has left. It answers nobody, but others whom it knows to be left out as well."""
    if type(message) is PreVote and message.to == replica.me:
        answer_stranger(replica, message.sender)


def ask_around(replica: Replica) -> None:
    """A server that may not campaign hears nobody: if it was dropped, somebody will say so. Grants mean nothing."""
    membership = replica.membership
    for voter in membership.voters if membership is not None else ():
        if voter != replica.me:
            last_index, last_term = replica.log.last_index, replica.log.last_term
            replica.send_now(PreVote(replica.me, voter, replica.current_term + 1, last_index, last_term))
