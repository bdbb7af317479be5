"""A leader does not take more than it may hold before it is committed.

Formula: a proposal is taken => the payloads of entries after the commit index, without its own, are below the limit.
Source: R2, BM-111. The bytes are counted anew from the log, as far as that is in memory.
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
    before = replica.log.payload_bytes_after(replica.commit_index) - len(commands[-1].payload)
    limit = replica.settings.uncommitted_bytes
    if before >= limit:
        raise Violation(
            "bounds", f"{replica.me} takes {commands[-1].first} with {before} bytes not committed of {limit}"
        )
