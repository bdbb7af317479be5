"""Events as text, in the words of the golden conversations: what stands behind `a < `."""

from __future__ import annotations

from typing import assert_never

from zraft.core import events as e
from zraft.core.text import Naming, member_text


def event_text(event: e.Event, name: Naming = member_text) -> str:
    """`AppendEntries from b`, `propose #3`, `saved 4`: which event, in a few words."""
    match event:
        case e.Received():
            return f"{type(event.message).__name__} from {name(event.message.sender)}"
        case e.Propose():
            return f"propose {' '.join(f'#{proposal.ref}' for proposal in event.proposals)}"
        case e.Read():
            return f"read #{event.ref}"
        case e.Saved():
            return f"saved {event.number}"
        case e.Loaded():
            last = event.batches[-1].last if event.batches else "nothing"
            return f"loaded {event.first}..{last}"
        case e.SnapshotTaken():
            return f"snapshot {event.mark.index}"
        case e.SnapshotRestored():
            return f"restored snapshot {event.mark.index}"
        case e.SnapshotFailed():
            return f"failed to fetch snapshot {event.mark.index}"
        case e.Bootstrap():
            return f"bootstrap {' '.join(map(name, event.membership.voters))}"
        case e.ChangeMembership():
            return f"change to {' '.join(map(name, event.target))}"
        case e.TransferLeadership():
            return f"transfer {f'to {name(event.to)}' if event.to is not None else 'to the best'}"
        case _:
            return _short(event)


def _short(
    event: e.ProposeTime | e.NodeLost | e.NodeBack | e.NodeSilent | e.NodeRestarted | e.Rouse | e.TimePassed,
) -> str:
    match event:
        case e.ProposeTime():
            return "propose time"
        case e.NodeLost():
            return f"node {event.node} lost"
        case e.NodeBack():
            return f"node {event.node} back"
        case e.NodeSilent():
            return f"node {event.node} silent"
        case e.NodeRestarted():
            return f"node {event.node} restarted"
        case e.Rouse():
            return "rouse"
        case e.TimePassed():
            return "timeout"
        case _:
            assert_never(event)
