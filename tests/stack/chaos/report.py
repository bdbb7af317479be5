"""What a campaign did and found, for readers and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields

from zraft.sim.history import Operation


@dataclass
class Totals:
    """Of all rounds of a campaign."""

    seed: int
    minutes: float = 0.0
    rounds: int = 0
    chains: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    ok: int = 0
    refused: int = 0
    """Operations whose client was told that they have not run."""
    unknown: int = 0
    """Operations whose outcome nobody was told."""
    histories: int = 0
    """Judged, one a round."""
    unknown_verdicts: int = 0
    longest_unavailable_s: float = 0.0
    """From the end of a chain's faults to the next acknowledged write of a client."""
    slowest_recovery_s: float = 0.0
    """From the same moment until every replica followed and had everything."""
    slowest: str = ""
    """Where that was."""
    without: list[str] = field(default_factory=list)
    """What this machine cannot do."""
    failures: list[str] = field(default_factory=list)

    def add_history(self, operations: Iterable[Operation]) -> None:
        """What the clients of a round were told."""
        for operation in operations:
            if operation.returned is not None:
                self.ok += 1
            elif operation.is_refused:
                self.refused += 1
            else:
                self.unknown += 1

    def add_recovery(self, where: str, unavailable_s: float, recovered_s: float) -> None:
        """After one chain."""
        self.chains += 1
        self.longest_unavailable_s = max(self.longest_unavailable_s, unavailable_s)
        if recovered_s > self.slowest_recovery_s:
            self.slowest_recovery_s, self.slowest = recovered_s, where

    def as_json(self) -> str:
        """The report for programs: one line."""
        return json.dumps({each.name: getattr(self, each.name) for each in fields(self)} | {"is_good": self.is_good})

    @property
    def is_good(self) -> bool:
        """Nothing was violated."""
        return not self.failures

    def lines(self) -> Iterator[str]:
        """The report for readers."""
        yield f"seed {self.seed}: {self.minutes:.1f} minutes, {self.rounds} rounds, {self.chains} chains of faults"
        yield f"operations: {self.ok:,} ok, {self.refused:,} refused, {self.unknown:,} unknown"
        yield f"histories judged {self.histories}, of them undecided {self.unknown_verdicts}"
        yield (
            f"after a chain: at most {self.longest_unavailable_s:.2f} s without an acknowledged write, at most "
            f"{self.slowest_recovery_s:.2f} s until everybody was well{f' ({self.slowest})' if self.slowest else ''}"
        )
        yield "faults: " + ", ".join(f"{number} × {kind}" for kind, number in sorted(self.faults.items()))
        yield from (f"WITHOUT {what}" for what in self.without)
        yield from (f"FAILED {failure}" for failure in self.failures)
        yield "every property held" if self.is_good else "FAILED"
