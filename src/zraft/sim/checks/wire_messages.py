"""Messages say only what is so.

Formulas: an AppendEntries has contiguous batches with terms that never decrease, begins at prev + 1, and prev and
batches are the sender's own log; an acknowledgement names at most prev + entries of the message that it answers,
never the own last index. Source: §3.5; I12, BM-016, BM-023. Looked at in the output of the step that made the
message.
"""

from __future__ import annotations

from zraft.core.events import Received
from zraft.core.messages import AppendEntries, AppendReply
from zraft.sim.checks.ghost import Step, Violation


def check(step: Step) -> None:
    """Every message of this step's output."""
    for messages in (step.out.send_now, step.out.send_after_save):
        for message in messages:
            if type(message) is AppendEntries:
                _check_append(step, message)
            elif type(message) is AppendReply and message.accepted:
                _check_reply(step, message)
            if message.sender != step.node.me:
                raise Violation("wire messages", f"{step.node.me} sends in the name of {message.sender}")


def _check_append(step: Step, message: AppendEntries) -> None:
    log = step.node.log
    prev = log.at(message.prev_index)
    if prev is None or prev.term != message.prev_term:
        raise Violation("wire messages", f"{message} has a prev that the sender's log does not: {prev}")
    index, term = message.prev_index, message.prev_term
    for batch in message.batches:
        if batch.first != index + 1 or batch.term < term or batch.term > message.term:
            raise Violation("wire messages", f"{batch.first} of {batch.term} is sent after {index} of {term}")
        index, term = batch.last, batch.term
    if index and ((end := log.at(index)) is None or end.term != term):
        raise Violation("wire messages", f"{step.node.me} sends {index} of {term}, which it does not have")


def _check_reply(step: Step, reply: AppendReply) -> None:
    event = step.event
    if type(event) is not Received or type(event.message) is not AppendEntries:
        return
    if reply.index > event.message.last_index:
        raise Violation("wire messages", f"{reply} acknowledges more than was sent, up to {event.message.last_index}")
