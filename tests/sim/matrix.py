"""`python -m tests.sim.matrix`: docs/simulation.md, from the profiles, the checks, and what is said here about them.

Every rate that a seed draws and every property that a run can break has a row: a test compares both with the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zraft.sim.profiles import PROFILES, TICKS_PER_TIMEOUT, Rates

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "simulation.md"
_VIOLATION = re.compile(r"Violation\(\s*\"([^\"]+)\"")


@dataclass(frozen=True)
class Fault:
    """`unit`: of what the rate is one in a million; empty: it is no rate."""

    what: str
    unit: str
    risks: str
    """The invariants that it endangers most, by their names on the page."""


def _tick(what: str, risks: str) -> Fault:
    return Fault(what, "tick", risks)


FAULTS = {
    "jitter_ms": Fault(
        "Frames overtake each other: mean of a delay that is drawn exponentially, in ms", "", "I9 to I12"
    ),
    "loss": Fault("A frame is lost", "frame", "L1, L3"),
    "duplicate": Fault("A frame arrives twice at about the same time", "frame", "I1, I9 to I12"),
    "replay": Fault(
        "A frame arrives again up to ten election timeouts later, also in another term or life", "frame", "I1, C1"
    ),
    "clog": _tick("A link holds its frames for 1 to 10 election timeouts, then brings them all", "R1, R2"),
    "partition": _tick(
        "Links are cut: one node alone, halves, a bridge, a chain, one direction, or all but one link; cuts add up",
        "I1, L1",
    ),
    "heal": _tick("All cut links carry again", ""),
    "crash": _tick(
        "A node ends; half of the times with its power, and unsynced sectors are old, new or zero", "D1 to D3"
    ),
    "blackout": _tick("All nodes lose power at once", "D1 to D3"),
    "restart": _tick("A node that is down starts again", "D2, M4"),
    "pause": _tick("A node stands still for 1 to 10 election timeouts while time goes on", "C1, S1"),
    "stall": _tick("A disk answers no sync for 1 to 10 election timeouts", "R4, L1"),
    "sync_ms": Fault("Mean time of a sync, drawn for each node, in ms", "", "I13"),
    "slow_sync": Fault("A sync takes 50 to 1000 ms", "sync", "I13, R4"),
    "write_error": Fault("A write fails, or is short; for half of the nodes until the process ends", "write", "D4"),
    "sync_error": Fault("A sync fails and drops what was dirty; as above", "sync", "D4"),
    "read_error": Fault("A read fails", "read", "D5, D6"),
    "quota": Fault("Bytes that the files of a node may take", "", "D4, R3"),
    "churn": _tick("Another set of members is asked for", "M1 to M6"),
    "transfer": _tick("Leadership is handed to another member", "I1, C1"),
    "wipe": _tick("The disk of one chosen node is empty, and it is taken in again as somebody else", "M5, D1"),
    "rot": _tick("Bits of the files of that node flip", "D5, D6"),
    "snapshot_ms": Fault("Mean time of a step of writing or fetching a snapshot, in ms", "", "I5, L4"),
    "snapshot_error": Fault("A step of writing a snapshot fails, half as often for want of space", "step", "D2"),
    "transfer_error": Fault(
        "The connection of a transfer breaks; eight times more rarely a bit of a piece flips", "piece", "L4"
    ),
    "slow_apply": Fault("Half of the nodes take so long for an entry, in ms", "", "I5, R3"),
    "stop": _tick("One replica is stopped while its node goes on", "L1"),
    "cut_off": _tick("The leader's node is cut off from all others", "C1, R2"),
    "decay": _tick(
        "A bit flips, a write is lost, or a sector is another one, where the other disks can do without", "D4 to D6"
    ),
    "nap": _tick("A quiet leader is cut off, and its clock gets slow", "C1"),
    "eager": Fault("A new leader is asked for other members before it has done anything else", "leader", "M2, M3"),
    "wall_jump": _tick("A wall clock is wrong by up to an hour", "S1, S6"),
    "drift": _tick("A clock runs at another rate from now on", "S1, S5, F1, C1"),
}
"""By the name of the rate."""

DRAWN = (
    (
        "every seed",
        "crash points: what a power loss at this moment would leave is opened and compared, at a drawn rate",
    ),
    (
        "every seed",
        "small limits: a batch per message, one message under way, segments of 4 KiB, 200 bytes uncommitted",
    ),
    ("every seed", "a snapshot every 3 to 60 entries, or none; the log kept behind it 0, a fifth or a half of that"),
    ("every seed", "clocks between half and twice as fast, for a part of the nodes; they begin anywhere"),
    ("every seed", "clients that ask the wrong node, lose answers, give up and try elsewhere"),
    (
        "`sessions`, `streams`, `resumes`, `holders`, `fences`",
        "sessions of which some fall silent or are resumed, counters, locks, watches, streams over short histories",
    ),
    ("`quiet`, `naps`, `mixed`, `resumes`", "groups that fall asleep, in `quiet` several of them on the same nodes"),
    ("`shapes`", "links that stay cut, or a leader's disk that never answers, after everything else is well"),
    ("`adverse`", "the chaos ends where a core quorum knows least of each other's terms"),
    (
        "`mixed`, `resumes`",
        "nodes of an older version, which neither send nor take what the protocol got since",
    ),
)
"""What is drawn besides the rates: where, and what."""

CHECKS = {
    "election safety": ("I1", "checks/election_safety.py"),
    "leader append-only": ("I2", "checks/leader_append_only.py"),
    "log matching": ("I3", "checks/log_matching.py"),
    "leader completeness": ("I4", "checks/leader_completeness.py"),
    "state machine safety": ("I5", "checks/state_machine_safety.py"),
    "commit validity": ("I6", "checks/commit_validity.py"),
    "up-to-date votes": ("I7", "checks/votes.py"),
    "truncation": ("I8", "checks/leader_append_only.py"),
    "monotonic": ("I9, I10", "checks/monotonic.py"),
    "one vote per term": ("I10", "checks/votes.py"),
    "quorum of votes": ("I1", "checks/votes.py"),
    "votes": ("I10", "checks/votes.py"),
    "progress": ("I11; L1, L3", "checks/progress.py, healing.py, run.py"),
    "wire messages": ("I12", "checks/wire_messages.py"),
    "effects order": ("I13", "checks/effects_order.py"),
    "membership M1": ("M1", "checks/membership.py"),
    "membership M2": ("M2", "checks/membership.py"),
    "membership M3": ("M3", "checks/membership.py"),
    "membership M4": ("M4", "checks/membership.py"),
    "membership M5": ("M5", "checks/membership.py"),
    "membership M6": ("M6", "checks/membership.py"),
    "durability D1": ("D1", "checks/durability.py, node.py"),
    "durability D2": ("D2", "checks/durability.py, node.py"),
    "durability D3": ("D3", "checks/durability.py"),
    "durability D4": ("D5, D6", "checks/durability.py"),
    "durability D5": ("D5, D6", "checks/durability.py"),
    "recovery": ("D6", "node.py"),
    "restart": ("D2, D3", "run.py, healing.py"),
    "replica fault": ("none stops without a reason", "node.py"),
    "read index": ("C1", "checks/read_index.py"),
    "witness": ("C1, C3, C4, X1", "judging.py"),
    "linearizability": ("C1", "judging.py, trials/examination.py"),
    "sessions": ("X1 to X3, S1, S2, S5, S6", "checks/sessions.py, healing.py, session_clients.py"),
    "fencing": ("F1, F2", "checks/sessions.py"),
    "watches": ("W1, W2", "checks/sessions.py, session_clients.py"),
    "streams": ("W1 to W6", "checks/streams.py, healing.py"),
    "bounds": ("R1, R2", "checks/bounds.py"),
    "quiet": ("a quiet leader lacks nothing", "checks/quiet.py"),
    "stability": ("L2, L5", "healing.py, shapes.py"),
    "equality": ("L4, I5", "healing.py"),
    "state": ("a replica of a user's machine has the state that the log gives", "trials/examination.py"),
    "answers": ("what a user's machine answers is what the log gives", "trials/examination.py"),
    "backend": ("a user's machine raises nothing that is not foreseen", "trials/clients.py, trials/examination.py"),
    "invariant": ("what a user says of each state", "trials/examination.py"),
    "history": ("what a user says of all answers", "trials/examination.py"),
}
"""By the name that a broken property is reported under: the invariants, and the files of src/zraft/sim that watch."""

INVARIANTS = {
    "I1": "at most one leader in a term",
    "I2": "a leader never removes from its own log",
    "I3": "two logs with the same entry are the same up to it",
    "I4": "a leader has everything that was committed before",
    "I5": "nobody applies another entry at an index, and states at an index are equal, also after a snapshot",
    "I6": "what is committed is durable on a quorum of every configuration in force, and the last of it of that term",
    "I7": "votes go to logs that are at least as up to date",
    "I8": "nothing that is committed is truncated",
    "I9": "term and commit index only grow, and saves are numbered without a gap",
    "I10": "a vote changes only with the term",
    "I11": "what a leader believes that a follower has, it has, durably",
    "I12": "entries in messages are contiguous, and acknowledgements name no more than was sent",
    "I13": "no promise leaves before what it promises is durable",
    "M1": "configurations that follow each other share a quorum",
    "M2": "one configuration at a time is uncommitted",
    "M3": "none is proposed before an entry of the leader's own term is committed",
    "M4": "the one in force is the last in snapshot and log",
    "M5": "who leads is a voter",
    "M6": "who leaves is no voter any more",
    "D1": "what was acknowledged is there after any crash",
    "D2": "logs have no gap and nothing comes back, at any point at which power is lost",
    "D3": "term and vote are never forgotten",
    "D4": "after an error of the disk nothing is acknowledged until it was opened anew",
    "D5": "what does not match its checksum is never used, and changes nothing that is committed",
    "D6": "what cannot be had back stops a replica, with the reason",
    "C1": "histories are linearizable",
    "C2": "a local read has at least the index that it names",
    "C3": "what was refused had no effect",
    "C4": "indexes follow real time",
    "X1": "a write of a session runs once",
    "X2": "all replicas keep the same replies",
    "X3": "a session ends by an entry, and nothing of it runs after that",
    "S1": "not earlier than its timeout after the last answer that its client saw",
    "S2": "and only by an entry",
    "S3": "its temporary data goes with it",
    "S4": "nothing of it is there again",
    "S5": "silent clients lose their session in time",
    "S6": "wall clocks do not matter",
    "W1": "what a watch or stream says is in order",
    "W2": "and without a gap that is not said",
    "W3": "streams get to the end once all is well",
    "W4": "who was told of an index has everything up to it",
    "W5": "nothing that is not committed is told",
    "W6": "all changes of an entry are told together",
    "W7": "an idle watch survives, or says that its leader is gone",
    "F1": "fencing tokens grow",
    "F2": "nobody else holds a lock while its owner may believe in it",
    "R1": "bytes under way to a follower are bounded",
    "R2": "bytes not committed are bounded",
    "R3": "queues, histories and logs are bounded",
    "R4": "a leader whose disk stands still gives up",
    "R5": "descriptors are bounded",
    "L1": "a connected quorum has a leader and serves",
    "L2": "also where some links stay cut",
    "L3": "what clients ask is answered",
    "L4": "followers catch up",
    "L5": "a leader that is well stays",
    "U1": "nodes of several versions keep all of this",
    "U2": "the same seed gives the same run, on every interpreter and under every hash seed",
    "U3": "apply depends on state and entry alone",
}

ELSEWHERE = {
    "C2": "`tests/unit/peer/test_desk.py`, `tests/stack/node/test_replicas.py`",
    "D4": "the store refuses, `tests/unit/storage/test_store.py`; the simulation sees that no promise leaves (I13)",
    "R3": "`tests/unit/peer/test_desk.py`, `tests/unit/session/test_history.py`; in a run snapshots bound the log",
    "R4": "the profile `shapes` (L1): others lead on, and no separate check",
    "R5": "real processes, `tests/stack/transport/test_crowds.py`",
    "S3": "watched as equality of states (I5) and by `tests/museum/peer/test_sessions.py`",
    "S4": "the same",
    "W7": "`tests/museum/peer/test_watches.py`; in a run a client that loses its leader watches anew",
    "U1": "the profile `mixed`, with all checks; `tests/museum/peer/test_versions.py` for entries",
    "U2": "`tests/sim/test_determinism.py`",
    "U3": "`tests/museum/machine/test_apply.py`",
}
"""Invariants that no check names, and what proves them."""

LEFT_OUT = (
    "Partitions in which each link is cut or not by its own coin: what cuts in a row leave comes to the same.",
    "Damage to the two state files: `tests/unit/storage/test_damage.py` does it to one and to both. In a run both at "
    "once would end a node, as they should, and one alone is what a power loss in the middle of a save already leaves.",
    "A full disk at each write: `quota` draws a limit for a run; `tests/museum/storage/test_journal.py` goes step by "
    "step.",
    "A crash between any two operations of the disk: not by chance but one after the other, in "
    "`tests/unit/storage/test_crashes.py` and `tests/sim/test_snapshot_crashes.py`.",
    "Clocks that stand still: others see it as a pause, and a clock at half its rate is near enough.",
    "Members that become learners again: there is no such change here.",
    "Entries of kinds that some nodes do not know: they stop those nodes, as they should, and the run with them.",
)


def raised() -> dict[str, list[str]]:
    """Every name under which a run can report a broken property, and the files of src/zraft/sim that do."""
    found: dict[str, list[str]] = {}
    folder = ROOT / "src" / "zraft" / "sim"
    for path in sorted(folder.rglob("*.py")):
        for name in sorted(set(_VIOLATION.findall(path.read_text(encoding="utf-8")))):
            found.setdefault(name, []).append(path.relative_to(folder).as_posix())
    return found


def named(text: str) -> list[str]:
    """The invariants in `I9 to I12, M1`."""
    found = []
    for part in re.split(r"[,;] ?", text):
        match = re.fullmatch(r"([A-Z])(\d+)(?: to [A-Z](\d+))?", part)
        if match:
            kind, first, last = match.groups()
            found += [f"{kind}{number}" for number in range(int(first), int(last or first) + 1)]
    return [name for name in found if name in INVARIANTS]


def page() -> str:
    """The whole text."""
    return "\n".join([_HEAD, *_rates(), "", *_others(), "", *_checks(), "", *_left_out()]) + "\n"


_HEAD = f"""\
<!-- made by `python -m tests.sim.matrix`; do not edit -->

# The simulation

`zraft sim --seed 7` runs a whole cluster in one thread: the production code of the protocol, the sessions and the
storage over a simulated clock, network and disk. Everything that goes wrong is drawn from the seed, so the same seed is
the same run, and a seed that fails is a bug that everybody can have.

A run: a group is founded; chaos; then as few nodes as can decide are well, and clients must be served; then all are
well, and all replicas must be equal; at last what clients saw is judged. This page says what is drawn and what is
watched. What real processes, disks and networks add is in `tests/stack`.

## What goes wrong

A seed takes about half of its profile's faults, each at a rate between the two numbers: some runs have little of it and
some have much. Rates are per million; a tick is a {TICKS_PER_TIMEOUT}th of an election timeout. Half of what happens
to one node happens to the leader.
"""


def _range(name: str, profile: str) -> str:
    low, high = getattr(PROFILES[profile], name)
    return f"{low:,} to {high:,}" if high else "never"


def _rates() -> Iterator[str]:
    yield "| fault | what happens | of a million | `default` | every seed of | otherwise in | endangers |"
    yield "|---|---|---|---|---|---|---|"
    for name in Rates.__struct_fields__:
        fault = FAULTS[name]
        always = ", ".join(f"`{each}`" for each, profile in PROFILES.items() if name in profile.always)
        always = "all" if all(name in profile.always for profile in PROFILES.values()) else always
        other = [
            f"`{each}` {_range(name, each)}"
            for each, profile in PROFILES.items()
            if getattr(profile, name) != getattr(PROFILES["default"], name) and name not in profile.never
        ]
        cells = (f"`{name}`", fault.what, fault.unit, _range(name, "default"), always, "; ".join(other), fault.risks)
        yield f"| {' | '.join(cells)} |"


def _others() -> Iterator[str]:
    yield "Besides:"
    yield ""
    yield from (f"*   {where}: {what}" for where, what in DRAWN)
    yield ""
    yield f"The profiles are {', '.join(f'`{name}`' for name in sorted(PROFILES))}."


def _checks() -> Iterator[str]:
    yield "## What is watched"
    yield ""
    yield "| invariant | | reported as | watched in `src/zraft/sim` |"
    yield "|---|---|---|---|"
    for name, what in INVARIANTS.items():
        checks = [check for check, (text, _) in CHECKS.items() if name in named(text)]
        files = dict.fromkeys(file for check in checks for file in CHECKS[check][1].split(", "))
        where = ", ".join(f"`{file}`" for file in files)
        if name in ELSEWHERE:
            where = f"{where}; {ELSEWHERE[name]}" if where else ELSEWHERE[name]
        yield f"| {name} | {what} | {', '.join(checks)} | {where} |"
    yield ""
    rest = [f"*{check}*: {text}" for check, (text, _) in CHECKS.items() if not named(text)]
    yield f"And: {'; '.join(rest)}."
    yield ""
    yield "A net that catches nothing proves nothing: [the museum](museum.md) says which bugs are put back to be found."


def _left_out() -> Iterator[str]:
    yield "## What is left out, and why"
    yield ""
    yield from (f"*   {text}" for text in LEFT_OUT)


def main() -> int:
    """Write the page, or with `--check` compare. 1: it is not up to date."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)


if __name__ == "__main__":
    raise SystemExit(main())
