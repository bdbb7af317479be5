"""Messages and outputs as text: the trace that a person reads in a log is the trace that a golden compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from zraft.core import messages as m
from zraft.core.entries import Batch, Kind
from zraft.core.memberships import decode_membership
from zraft.core.output import Output
from zraft.types import Member

_KIND_LETTER = {Kind.NOOP: "noop", Kind.COMMANDS: "commands", Kind.CONFIGURATION: "configuration", Kind.TIME: "time"}


Naming: TypeAlias = Callable[[Member | None], str]
"""How a member is called; None: nobody is there."""


def member_text(member: Member | None) -> str:
    """`name`, which is unique within a conversation; `-` for nobody."""
    return member.peer.name if member is not None else "-"


def peer_text(member: Member | None) -> str:
    """`name@host:port`, for replicas of one name on several nodes."""
    return str(member.peer) if member is not None else "-"


def batch_text(batch: Batch, name: Naming = member_text) -> str:
    """`5..7/2` is a batch of commands of term 2; others name their kind."""
    span = f"{batch.first}" if batch.count == 1 else f"{batch.first}..{batch.last}"
    if batch.kind == Kind.COMMANDS:
        return f"{span}/{batch.term}"
    if batch.kind == Kind.CONFIGURATION:
        members = decode_membership(batch.payload)
        parts = [",".join(map(name, members.voters))]
        parts += [
            f"{sign}{','.join(map(name, group))}"
            for sign, group in (("&", members.outgoing), ("+", members.learners), (">", members.target))
            if group
        ]
        return f"{span}/{batch.term} configuration({' '.join(parts)})"
    kind = Kind(batch.kind) if batch.kind in _KIND_LETTER else None
    return f"{span}/{batch.term} {_KIND_LETTER[kind] if kind is not None else f'kind {batch.kind}'}"


def message_text(message: m.Message, name: Naming = member_text) -> str:
    """`a->b RequestVote term 2 last (3,1)`: one line, everything that matters and no clock."""
    head = f"{name(message.sender)}->{name(message.to)} {type(message).__name__} term {message.term}"
    return f"{head} {_details(message, name)}".rstrip()


def _details(message: m.Message, name: Naming) -> str:
    match message:
        case m.PreVote() | m.RequestVote():
            transfer = " transfer" if isinstance(message, m.RequestVote) and message.transfer else ""
            return f"last ({message.last_index},{message.last_term}){transfer}"
        case m.PreVoteReply() | m.RequestVoteReply():
            return "granted" if message.granted else "refused"
        case m.AppendEntries():
            entries = "; ".join(batch_text(batch, name) for batch in message.batches)
            return f"prev ({message.prev_index},{message.prev_term}) commit {message.commit_index} [{entries}]"
        case m.AppendReply():
            if message.accepted:
                return f"accepted {message.index}"
            return f"refused {message.index} hint ({message.hint_index},{message.hint_term})"
        case m.Heartbeat():
            return f"round {message.round} commit {message.commit_index}"
        case m.HeartbeatReply():
            return f"round {message.round}"
        case m.InstallSnapshot():
            return f"mark ({message.mark.index},{message.mark.term})"
        case m.SnapshotReply():
            return f"{'installed' if message.installed else 'failed'} {message.index}"
        case m.TimeoutNow():
            return ""
        case m.ReadIndexRequest():
            return "asks for a read index"
        case m.Quiesce():
            return f"round {message.round} index {message.index}"
        case m.QuiesceReply():
            return f"round {message.round} {'agreed' if message.agreed else 'refused'}"
        case m.ReadIndexReply():
            return f"read index {message.index}" if message.index else "refused"
        case m.NotMember():
            return f"as of ({message.index},{message.index_term})"


def output_lines(output: Output, name: Naming = member_text) -> list[str]:
    """What a step wants done, a line each, in the order of execution; nothing at all gives no line."""
    lines = []
    if output.hard_state is not None:
        lines.append(f"save term {output.hard_state.term} vote {name(output.hard_state.voted_for)}")
    if output.truncate_from:
        lines.append(f"truncate from {output.truncate_from}")
    if output.reset_to is not None:
        lines.append(f"reset to ({output.reset_to.index},{output.reset_to.term})")
    lines += [f"append {batch_text(batch, name)}" for batch in output.append]
    lines += [f"send {message_text(message, name)}" for message in output.send_now]
    lines += [f"after save, send {message_text(message, name)}" for message in output.send_after_save]
    lines += [f"load {load.first}..{load.last} for {name(load.to)}" for load in output.load]
    lines += [f"accepted #{accepted.ref} at {accepted.index}/{accepted.term}" for accepted in output.accepted]
    if output.commit_to:
        lines.append(f"commit {output.commit_to}")
    lines += [f"read #{ready.ref} at {ready.index}" for ready in output.reads_ready]
    lines += [f"changed #{ref}" for ref in output.changed]
    lines += [f"transferred #{ref}" for ref in output.transferred]
    lines += [
        f"refused #{refused.ref} {refused.why.value}" + (f", leader {name(refused.leader)}" if refused.leader else "")
        for refused in output.refused
    ]
    lines += [f"offer snapshot {offer.mark.index} to {name(offer.to)}" for offer in output.send_snapshot]
    if output.restore is not None:
        lines.append(f"restore snapshot {output.restore.mark.index} from {name(output.restore.sender)}")
    if output.compact_to:
        lines.append(f"compact to {output.compact_to}")
    if output.left:
        lines.append(f"left its group as of {output.left}")
    if output.role_change is not None:
        change = output.role_change
        lines.append(f"{change.role.value} term {change.term} leader {name(change.leader)}")
    return lines + [f"fact: {fact}" for fact in output.facts]
