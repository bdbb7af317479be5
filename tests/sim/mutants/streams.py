"""Bugs of streams and of sessions that are resumed, put back."""

from __future__ import annotations

from tests.sim.mutants.mutation import Change, Mutant

_STREAMS = "zraft.peer.streams:Streams"
_HISTORY = "zraft.session.history:History"

STREAMS = (
    Mutant(
        "BM-082s",
        "a stream that is asked for begins with what was told before",
        (Change(f"{_STREAMS}.ask", "place, after, after)", "place, after, max(machine.history.floor, after - 9))"),),
        "streams",
        median=1,
    ),
    Mutant(
        "BM-083s",
        "what does not fit in a piece is in no later one either",
        (
            Change(
                f"{_STREAMS}._read",
                "> limits.STREAM_BYTES:\n            return Chunk(after, index - 1,",
                "> 60:\n            return Chunk(after, machine.last_applied,",
            ),
        ),
        "streams",
        median=1,
    ),
    Mutant(
        "BM-084s",
        "history that is gone counts as history in which nothing happened",
        (Change(f"{_STREAMS}._read", "if start < history.floor:", "if False:"),),
        "streams",
        median=2,
    ),
    Mutant(
        "bookmark",
        "a stream that is set is not told of what changes in the turn after that",
        (Change(f"{_STREAMS}._tell", "max(stream.seen, self._seen)", "machine.last_applied"),),
        "streams",
        median=1,
    ),
    Mutant(
        "resumed",
        "what an earlier life of a client has under way runs after the session was resumed",
        (Change("zraft.session.sessions:Session.resume", "self.last + SESSION_UNANSWERED", "self.last"),),
        "resumes",
        median=20,
    ),
    Mutant(
        "unwatched",
        "a watch that nobody wants any more stays open",
        (Change("zraft.peer.filing:Filing.forget_numbers", "self.remove(item)", "pass"),),
        "resumes",
        median=1,
    ),
)
