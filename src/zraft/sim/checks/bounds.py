"""A leader does not take more than it may hold before it is committed, nor send more than may be under way.

Formulas: a proposal is taken => the commands after the commit index, without its own, weigh less than the limit. What
is under way to a follower is at most so many messages, and without the last of them it weighs less than the limit.
Source: R1, R2, BM-111. The bytes of commands are counted anew from the log, as far as that is in memory; configurations
do not count: there is one at a time, and it is bounded.
"""

from __future__ import annotations

from zraft.core.entries import Kind
from zraft.core.roles import Leader
from zraft.sim.checks.ghost import Step, Violation


def check(step: Step) -> None:
    """Of a leader that appended proposals in this step."""
    replica, out = step.replica, step.out
    commands = [batch for batch in out.append if batch.kind == Kind.COMMANDS and batch.term == replica.current_term]
    if not out.accepted or not commands:
        return
    held = replica.log.take(replica.commit_index + 1, 1 << 40) or ()
    before = sum(len(batch.payload) for batch in held if batch.kind == Kind.COMMANDS) - len(commands[-1].payload)
    limit = replica.settings.uncommitted_bytes
    if before >= limit:
        raise Violation(
            "bounds", f"{replica.me} takes {commands[-1].first} with {before} bytes not committed of {limit}"
        )


def check_windows(step: Step) -> None:
    """Of a leader that sent something in this step."""
    role, settings = step.replica.role, step.replica.settings
    if type(role) is not Leader:
        return
    for member, progress in role.progress.items():
        flights = progress.flights
        if not flights:
            continue
        size = sum(flight[1] for flight in flights)
        if len(flights) > settings.window_messages or size - flights[-1][1] >= settings.window_bytes:
            raise Violation(
                "bounds", f"{step.node.me}: {len(flights)} messages of {size} bytes are under way to {member}"
            )
        if size != progress.flight_bytes:
            raise Violation(
                "bounds",
                f"{step.node.me}: {size} bytes are under way to {member}, counted were {progress.flight_bytes}",
            )
