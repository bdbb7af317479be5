"""A recording stepped through again, by the same core: the trace of a golden conversation, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator

from zraft.core import checkpoint
from zraft.core.event_text import event_text
from zraft.core.text import output_lines, peer_text
from zraft.errors import ReplicaFault
from zraft.peer.recording import Recording


class Replay:
    """`lines` once; then `fault` says how the steps ended, and `is_same` whether that is how they ended then."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.fault = ""
        """What the core stopped with; empty: it did not stop."""

    def lines(self) -> Iterator[str]:
        """A line for each event, and below it what followed."""
        recording = self._recording
        raft = checkpoint.resume(recording.held, recording.log)
        me = peer_text(raft.me)
        for now, event in recording.events:
            yield f"{me} < {event_text(event, peer_text)}"
            try:
                output = raft.step(now, event)
            except ReplicaFault as fault:
                self.fault = str(fault)
                yield f"  stops: {fault}"
                return
            for line in output_lines(output, peer_text):
                yield f"  {line}"
        if not recording.is_in_core:
            yield f"  stops: {recording.fault}"

    @property
    def is_same(self) -> bool:
        """The same fault; or none, where it was not one of the core."""
        return self.fault == (self._recording.fault if self._recording.is_in_core else "")
