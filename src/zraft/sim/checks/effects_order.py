"""Effects in order: a promise leaves a node only after what it promises is durable there.

Formulas: a message of term T leaves only where a hard state of T or more is durable; a granted vote, an accepted
append and an installed snapshot leave only after the completion of every save issued up to the step that made them;
they leave only if such a step made them. Source: §3.8, §10.2.1; I13, BM-001, BM-057, BM-090. Looked at where messages
leave the node. Pre-votes promise nothing and may leave at any time.
"""

from __future__ import annotations

from zraft.core.messages import AppendReply, Message, PreVote, PreVoteReply, RequestVoteReply, SnapshotReply
from zraft.sim.checks.ghost import GhostNode, Step, Violation


def is_promise(message: Message) -> bool:
    """Its receiver will rely on the sender's disk."""
    match message:
        case RequestVoteReply(granted=True) | AppendReply(accepted=True) | SnapshotReply(installed=True):
            return True
        case _:
            return False


class EffectsOrder:
    """The promises of one node that were made and have not left."""

    def __init__(self) -> None:
        self._made: dict[Message, list[int]] = {}

    def restart(self) -> None:
        """A new life has promised nothing."""
        self._made.clear()

    def check_made(self, step: Step) -> None:
        """Remembers the promises of this step, with the save that each one waits for."""
        for message in step.out.send_after_save:
            if is_promise(message):
                waits = self._made.setdefault(message, [step.node.issued, 0])
                waits[1] += 1

    def check_sent(self, node: GhostNode, message: Message) -> None:
        """`message` leaves the node now."""
        if type(message) in (PreVote, PreVoteReply):
            return
        if message.term > node.disk_state.term:
            raise Violation("effects order", f"{message} leaves, durable is only {node.disk_state}")
        if not is_promise(message):
            return
        waits = self._made.get(message)
        if waits is None:
            raise Violation("effects order", f"{message} leaves, which no step made as a promise that waits")
        if waits[0] > node.completed:
            raise Violation("effects order", f"{message} leaves before save {waits[0]}; durable is {node.completed}")
        waits[1] -= 1
        if not waits[1]:
            del self._made[message]
