"""The verdict on what clients saw: against the committed log first, then on its own.

An operation whose outcome nobody learnt may take effect at any later time, which makes a search explode. The committed
log says which of them never did: a put or a swap whose value is not there, and the removals of a key when every one
that is there has its acknowledgement. These are left out; whoever has seen an effect of one is then wrong all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from zraft.core.entries import Kind
from zraft.session.items import RawItem
from zraft.sim.checks.ghost import Trail, Violation
from zraft.sim.checks.witness import Command, check_witness
from zraft.sim.history import Get, Operation, Put, Register, Remove, Swap
from zraft.sim.linearizability import Answer, check_history
from zraft.sim.speech import SPEECHES, Speech
from zraft.wire.values import decode_value, decoder_for

BUDGET = 200_000
"""States per key before a history counts as not judged."""

_ITEMS = decoder_for(list[RawItem])


def judge(history: Sequence[Operation], committed: Trail, backend: str = "dict") -> str:
    """Empty, or why the history could not be judged. Raises Violation where it is wrong."""
    model, log = Register(), commands(committed, SPEECHES[backend])
    problem = check_witness(history, log, model)
    if problem:
        raise Violation("witness", problem)
    verdict = check_history(resolved(history, log), model, budget=BUDGET)
    if verdict.answer is Answer.BAD:
        raise Violation("linearizability", verdict.explanation)
    return verdict.explanation


def commands(committed: Trail, speech: Speech) -> list[Command]:
    """The committed commands of light writes, in order; those of sessions have their own keys and checks."""
    found: list[Command] = []
    for mark in committed.marks:
        batch = mark.batch
        if batch is None or batch.kind != Kind.COMMANDS:
            continue
        for offset, item in enumerate(_ITEMS.decode(batch.payload)):
            if item.marks is None:
                found.append(Command(batch.first + offset, *speech.heard(decode_value(item.command))))
    return found


def resolved(history: Sequence[Operation], log: Sequence[Command]) -> list[Operation]:
    """The history without the unanswered operations that, by the log, never took effect."""
    puts = {(command.key, command.input.value) for command in log if isinstance(command.input, Put)}
    swaps = {(command.key, command.input.value) for command in log if isinstance(command.input, Swap)}
    removals: dict[object, int] = {}
    for command in log:
        if isinstance(command.input, Remove):
            removals[command.key] = removals.get(command.key, 0) + 1
    for operation in history:
        if isinstance(operation.input, Remove) and operation.returned is not None:
            removals[operation.key] -= 1

    def may_have_run(operation: Operation) -> bool:
        if operation.returned is not None:
            return True
        match operation.input:
            case Put(value):
                return (operation.key, value) in puts
            case Remove():
                return removals.get(operation.key, 0) > 0
            case Swap(_, value):
                return (operation.key, value) in swaps
            case Get():
                return False

    return [operation for operation in history if may_have_run(operation)]
