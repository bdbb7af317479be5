"""A leader does not take more than it may hold before it is committed.

Formula: a proposal is taken => the commands after the commit index, without its own, weigh less than the limit.
Source: R2, BM-111. The bytes are counted anew from the log, as far as that is in memory. Configurations do not count:
there is one at a time, and it is bounded.
"""

from __future__ import annotations

from zraft.core.entries import Kind
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
