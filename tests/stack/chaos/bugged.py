"""A server with a bug put back: `bugged.py NAME server --listen ...`. Only for showing that the campaign finds it."""

from __future__ import annotations

import sys
from typing import Final

from tests.sim.mutants.mutants import ALL_MUTANTS
from tests.sim.mutants.mutation import Change, Mutant, put_back
from zraft.app import cli

OWN: Final = (
    Mutant(
        "early-ack",
        "a leader commits what only its own disk has",
        (
            Change(
                "zraft.core.replication:advance_commit",
                "index = quorum.committed_index(replica.membership, match_of)",
                "index = replica.saves.durable_index",
            ),
        ),
    ),
    Mutant(
        "stale-read",
        "a leader reads without asking whether it still leads",
        (
            Change(
                "zraft.core.reads:_is_confirmed", "if replica.membership is None:\n        return False", "return True"
            ),
        ),
    ),
    Mutant(
        "ignored-sync",
        "a sync that failed counts as done",
        (
            Change(
                "zraft.node.disk:RealDisk._attempt",
                "except OSError as error:\n",
                "except OSError as error:\n        if isinstance(operation, SyncFile):\n            return None\n",
            ),
        ),
    ),
    Mutant(
        "no-sync",
        "nothing is ever synced",
        (Change("zraft.node.disk:RealDisk._do", "sync_file(self._file(operation.name))", "pass"),),
    ),
    Mutant(
        "short-log",
        "corruption is taken for the end of the log",
        (Change("zraft.storage.replay:Trace.fail", "self.fault = self.fault or error", "pass"),),
    ),
)
BUGS: Final = {mutant.name: mutant for mutant in (*ALL_MUTANTS, *OWN)}
"""By name: those of the simulator, and those that only a real process has."""


def main(words: list[str]) -> int:
    """Run the command line with the bug."""
    with put_back(BUGS[words[0]]):
        return cli.main(words[1:])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
