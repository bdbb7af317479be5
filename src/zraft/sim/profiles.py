"""How much of what goes wrong: profiles, and the rates that each seed draws from one.

`quiet` has several groups that are idle most of the time. `stale` asks whether somebody who was away, or is behind,
still speaks as if nothing had happened; `returns`, what becomes of an old leader whose last entries a group has
replaced, and whose log a snapshot covers, when it comes back.

Some wait for the moment at which one thing would go wrong: `hasty` asks every new leader at once for other members,
`naps` cuts a leader off that is quiet, `lapses` one that is not and goes on asking it, `adverse` ends the chaos when
those who are left have most to learn from each other, `shapes` leaves some links cut for good, `torn` cuts the power
while large writes are under way. In `mixed` some nodes are of an older version. In `resumes` and `holders` clients with
sessions are started anew under faults that `sessions` leaves out; in `fences` clocks run at any rate, and a session may
end at any time: that is promised for clocks within a hundredth, but the tokens of a lock must grow all the same.

A seed takes about half of its profile's faults and draws a rate for each (swarm testing): a run in which everything
fails at once shows less than many runs in which a few things fail often.
Rates are per million and tick for what happens to nodes and links, per million frames or operations for the rest.
"""

from __future__ import annotations

from typing import Final

import msgspec

from zraft import limits
from zraft.errors import UsageError
from zraft.sim.chance import Chance

TICKS_PER_TIMEOUT: Final = 10
"""How often in an election timeout it is drawn whether something happens to nodes and links."""

Range = tuple[int, int]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Ranges from which a seed draws, lowest and highest; (0, 0) is never. What is in `always` every seed takes."""

    name: str
    backend: str = "dict"
    """One of `speech.SPEECHES`."""
    nodes: tuple[int, ...] = (1, 2, 3, 3, 3, 4, 5, 5)
    chaos_timeouts: int = 40
    """How many election timeouts the chaos lasts."""
    clients: Range = (1, 5)
    keys: Range = (1, 4)
    reads: Range = (10, 60)
    """Percent of the operations."""
    strays: int = 20
    """Percent of the operations that are sent to any peer."""
    stray_reads: int = 0
    """Percent of the reads besides."""
    value_bytes: int = 0
    """What is added to every value."""
    patience: Range = (2, 8)
    """Election timeouts for which a client waits."""
    think_ms: tuple[int, ...] = (2, 20, 100)
    """Mean pause of a client between two operations."""
    jitter_ms: Range = (1, 60)
    loss: Range = (1_000, 300_000)
    duplicate: Range = (1_000, 300_000)
    replay: Range = (1_000, 200_000)
    clog: Range = (2_000, 20_000)
    partition: Range = (3_000, 40_000)
    heal: Range = (10_000, 100_000)
    crash: Range = (2_000, 40_000)
    """Of one node; half of the crashes are power losses."""
    blackout: Range = (1_000, 8_000)
    """Power loss of every node at once."""
    restart: Range = (30_000, 300_000)
    pause: Range = (2_000, 15_000)
    stall: Range = (2_000, 10_000)
    sync_ms: Range = (1, 40)
    """Mean time of a sync."""
    slow_sync: Range = (1_000, 50_000)
    write_error: Range = (100, 3_000)
    sync_error: Range = (100, 3_000)
    read_error: Range = (0, 0)
    quota: Range = (0, 0)
    """Bytes that the files of a node may take, during the chaos."""
    churn: Range = (5_000, 40_000)
    transfer: Range = (5_000, 40_000)
    wipe: Range = (0, 0)
    """Of one node of the run, which then is somebody else; to be used without `churn`, and with 3 nodes or more."""
    rot: Range = (0, 0)
    """Of the same node: bits of its files flip."""
    decay: Range = (0, 0)
    """Of any node that the others can do without: a sector or a bit of journal or snapshots is not what it was."""
    skew: Range = (500, 2_000)
    """Rates of clocks, in thousandths."""
    skewed: int = 25
    """Percent of the nodes whose clock runs at such a rate."""
    groups: int = 1
    """Groups on the same nodes."""
    quiet_beats: tuple[int, ...] = (0,)
    """Idle heartbeats after which a group goes quiet; 0: never."""
    cut_off: Range = (0, 0)
    """Of the node of some group's leader from all others."""
    nap: Range = (0, 0)
    """Of the node of a leader that is quiet from all others, and its clock gets slow."""
    eager: Range = (0, 0)
    """Of a new leader that is asked for other members before it has done anything else."""
    wall_jump: Range = (500, 5_000)
    """Of one node's wall clock, by up to an hour."""
    drift: Range = (0, 0)
    """Of one node's clock, from now on at another rate of `skew`."""
    stop: Range = (0, 0)
    """Of one replica, while its node goes on."""
    sessions: int = 0
    """Clients with sessions, besides the others; the backend is then "table"."""
    restarts: bool = False
    """They are started anew now and then, and resume their sessions; and some of their watches they end themselves."""
    streams: bool = False
    """Each of them follows a stream, over histories so short that some of it is gone when they ask."""
    append_bytes: tuple[int, ...] = (1, 100, limits.APPEND_BYTES)
    """1: a batch per message."""
    max_log_count: tuple[int, ...] = (100_000, 60, 20)
    """Entries after which a snapshot is taken; the first one is never reached."""
    snapshot_ms: Range = (1, 200)
    """Mean time of a step of writing or fetching a snapshot."""
    snapshot_error: Range = (1_000, 100_000)
    """Of a step that writes one: no space, or an error."""
    transfer_error: Range = (1_000, 100_000)
    """Of a piece of one that is fetched: the connection breaks, or a bit flips."""
    slow_apply: Range = (5, 200)
    """Milliseconds that a node takes for an entry, where there are more to apply: what is committed piles up."""
    mixed: bool = False
    """One or two nodes are of an older version and do not know some messages, from the beginning to the end."""
    adverse: bool = False
    """The chaos ends where the nodes of some core quorum know least of each other's terms, and these are left."""
    shapes: int = 0
    """How often some links are cut for good, once the core quorum is well."""
    always: frozenset[str] = frozenset({"heal", "restart", "sync_ms"})
    never: frozenset[str] = frozenset()


PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile(name="default"),
        Profile(
            name="crashes",
            always=frozenset({"heal", "restart", "sync_ms", "crash", "blackout"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            crash=(20_000, 80_000),
            blackout=(2_000, 10_000),
            restart=(100_000, 400_000),
            sync_ms=(5, 80),
        ),
        Profile(
            name="torn",
            always=frozenset({"heal", "restart", "sync_ms", "crash", "blackout"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            value_bytes=1_500,
            chaos_timeouts=20,
            clients=(3, 5),
            reads=(5, 10),
            think_ms=(2, 5),
            crash=(50_000, 150_000),
            blackout=(20_000, 60_000),
            restart=(200_000, 600_000),
            sync_ms=(10, 80),
        ),
        Profile(
            name="elections",
            always=frozenset({"heal", "restart", "sync_ms", "partition", "jitter_ms", "replay"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            nodes=(3, 5, 5),
            clients=(1, 3),
            jitter_ms=(20, 200),
            replay=(50_000, 400_000),
            partition=(20_000, 60_000),
            heal=(50_000, 150_000),
        ),
        Profile(
            name="stale",
            always=frozenset({"heal", "restart", "sync_ms", "partition", "pause", "replay", "transfer", "jitter_ms"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            nodes=(3, 3, 5),
            clients=(3, 6),
            keys=(1, 2),
            reads=(40, 60),
            pause=(10_000, 30_000),
            partition=(10_000, 30_000),
            transfer=(5_000, 20_000),
            skewed=50,
            think_ms=(5, 20),
            append_bytes=(1,),
        ),
        Profile(
            name="membership",
            always=frozenset({"heal", "restart", "sync_ms", "churn", "transfer", "partition", "crash"}),
            nodes=(3, 4, 5),
            clients=(1, 3),
            partition=(10_000, 40_000),
            heal=(30_000, 150_000),
            crash=(5_000, 40_000),
            restart=(100_000, 400_000),
            churn=(30_000, 150_000),
        ),
        Profile(
            name="disk",
            always=frozenset({"heal", "restart", "sync_ms", "stall", "write_error", "sync_error", "crash"}),
            nodes=(1, 3, 3, 5),
            write_error=(500, 10_000),
            sync_error=(500, 10_000),
            read_error=(500, 10_000),
            quota=(20_000, 200_000),
            restart=(100_000, 400_000),
        ),
        Profile(
            name="rot",
            always=frozenset({"heal", "restart", "sync_ms", "wipe", "rot", "crash"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            nodes=(3, 3, 5),
            think_ms=(2, 5),
            reads=(5, 20),
            wipe=(1_000, 10_000),
            rot=(5_000, 50_000),
        ),
        Profile(
            name="recovery",
            always=frozenset({"heal", "restart", "sync_ms", "decay", "crash", "partition"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            nodes=(3, 3, 5),
            chaos_timeouts=40,
            clients=(1, 3),
            think_ms=(5, 20),
            reads=(5, 20),
            decay=(20_000, 100_000),
            crash=(5_000, 40_000),
            restart=(100_000, 400_000),
            partition=(10_000, 60_000),
            heal=(50_000, 200_000),
            max_log_count=(100_000, 100_000, 60, 20),
        ),
        Profile(name="table", backend="table", clients=(2, 5), keys=(1, 3), reads=(30, 60)),
        Profile(
            name="snapshots",
            always=frozenset({"heal", "restart", "sync_ms", "crash", "partition", "snapshot_ms"}),
            never=frozenset({"write_error", "sync_error"}),
            nodes=(1, 3, 3, 3, 5),
            chaos_timeouts=60,
            clients=(2, 8),
            keys=(2, 5),
            think_ms=(2, 20, 100),
            reads=(5, 30),
            crash=(2_000, 40_000),
            restart=(50_000, 400_000),
            partition=(10_000, 60_000),
            heal=(20_000, 100_000),
            churn=(2_000, 20_000),
            max_log_count=(4, 10, 20, 60),
        ),
        Profile(
            name="returns",
            always=frozenset({"heal", "restart", "sync_ms", "partition"}),
            never=frozenset("crash blackout churn pause stall clog write_error sync_error snapshot_error".split()),
            nodes=(3,),
            chaos_timeouts=20,
            clients=(4, 8),
            keys=(3, 5),
            think_ms=(5, 20),
            partition=(40_000, 100_000),
            heal=(100_000, 300_000),
            snapshot_ms=(1, 20),
            max_log_count=(3,),
        ),
        Profile(
            name="quiet",
            always=frozenset({"heal", "restart", "sync_ms", "stop"}),
            never=frozenset({"write_error", "sync_error"}),
            nodes=(1, 3, 3, 3, 5),
            groups=3,
            quiet_beats=(1, 1, 2, 4),
            chaos_timeouts=60,
            clients=(2, 4),
            keys=(1, 2),
            reads=(40, 60),
            think_ms=(200, 600, 2_000),
            loss=(1_000, 100_000),
            partition=(5_000, 40_000),
            heal=(20_000, 100_000),
            crash=(2_000, 20_000),
            pause=(5_000, 40_000),
            stop=(30_000, 150_000),
            cut_off=(10_000, 40_000),
            churn=(1_000, 20_000),
            skewed=80,
        ),
        Profile(
            name="sessions",
            backend="table",
            sessions=4,
            always=frozenset({"heal", "restart", "sync_ms", "partition", "pause", "jitter_ms"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            nodes=(1, 3, 3, 3, 5),
            clients=(1, 2),
            keys=(1, 2),
            skewed=0,
            chaos_timeouts=80,
            jitter_ms=(1, 100),
            loss=(1_000, 100_000),
            pause=(5_000, 20_000),
            partition=(5_000, 30_000),
            heal=(20_000, 100_000),
            crash=(5_000, 30_000),
            restart=(50_000, 300_000),
        ),
        Profile(
            name="resumes",
            backend="table",
            sessions=3,
            restarts=True,
            always=frozenset({"heal", "restart", "sync_ms", "partition", "jitter_ms"}),
            nodes=(3, 3, 4, 5),
            clients=(1, 2),
            keys=(1, 2),
            skewed=0,
            jitter_ms=(1, 100),
            loss=(1_000, 100_000),
            partition=(5_000, 30_000),
            heal=(20_000, 150_000),
            crash=(5_000, 30_000),
            restart=(50_000, 300_000),
            churn=(10_000, 60_000),
            stop=(1_000, 20_000),
            cut_off=(1_000, 20_000),
            read_error=(100, 3_000),
            quota=(30_000, 300_000),
            decay=(1_000, 20_000),
            eager=(20_000, 200_000),
            quiet_beats=(0, 0, 2, 5),
            nap=(1_000, 20_000),
            mixed=True,
        ),
        Profile(
            name="holders",
            backend="table",
            sessions=3,
            restarts=True,
            always=frozenset({"heal", "restart", "sync_ms", "wipe", "rot", "jitter_ms"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            nodes=(3, 3, 5),
            clients=(1, 2),
            keys=(1, 2),
            skewed=0,
            jitter_ms=(1, 100),
            loss=(1_000, 100_000),
            wipe=(1_000, 10_000),
            rot=(5_000, 50_000),
            restart=(50_000, 300_000),
        ),
        Profile(
            name="fences",
            backend="table",
            sessions=4,
            restarts=True,
            always=frozenset({"heal", "restart", "sync_ms", "drift", "jitter_ms"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            nodes=(3, 3, 4, 5),
            clients=(1, 2),
            keys=(1, 2),
            groups=2,
            shapes=1,
            skewed=50,
            jitter_ms=(1, 100),
            loss=(1_000, 100_000),
            restart=(50_000, 300_000),
            wall_jump=(5_000, 50_000),
            drift=(5_000, 50_000),
            stop=(1_000, 20_000),
            cut_off=(1_000, 20_000),
        ),
        Profile(
            name="streams",
            backend="table",
            sessions=3,
            streams=True,
            always=frozenset({"heal", "restart", "sync_ms", "partition", "pause", "jitter_ms"}),
            never=frozenset({"churn", "write_error", "sync_error", "transfer"}),
            nodes=(1, 3, 3, 3, 5),
            clients=(1, 2),
            keys=(1, 3),
            reads=(5, 20),
            skewed=0,
            chaos_timeouts=40,
            jitter_ms=(1, 100),
            loss=(1_000, 100_000),
            pause=(5_000, 20_000),
            partition=(5_000, 30_000),
            heal=(20_000, 100_000),
            crash=(5_000, 30_000),
            restart=(50_000, 300_000),
            max_log_count=(1_000, 60, 20),
        ),
        Profile(
            name="hasty",
            always=frozenset({"heal", "restart", "sync_ms", "churn", "transfer", "eager", "jitter_ms"}),
            never=frozenset({"write_error", "sync_error", "clog", "stall", "loss", "slow_apply", "blackout"}),
            nodes=(3, 4, 5),
            clients=(1, 3),
            jitter_ms=(5, 30),
            sync_ms=(20, 80),
            partition=(10_000, 40_000),
            heal=(30_000, 150_000),
            crash=(5_000, 40_000),
            restart=(100_000, 400_000),
            churn=(5_000, 20_000),
            transfer=(20_000, 80_000),
            eager=(300_000, 1_000_000),
        ),
        Profile(
            name="naps",
            always=frozenset({"heal", "restart", "sync_ms", "nap"}),
            never=frozenset(
                "loss duplicate replay clog partition crash blackout pause stall write_error sync_error churn "
                "transfer slow_sync slow_apply drift".split()
            ),
            nodes=(3, 3, 5),
            quiet_beats=(1,),
            chaos_timeouts=80,
            clients=(3, 5),
            keys=(1, 1),
            reads=(50, 70),
            strays=0,
            stray_reads=80,
            think_ms=(200, 400),
            jitter_ms=(1, 10),
            heal=(10_000, 30_000),
            nap=(100_000, 400_000),
            skewed=100,
            max_log_count=(100_000,),
        ),
        Profile(
            name="lapses",
            always=frozenset({"heal", "restart", "sync_ms", "cut_off"}),
            never=frozenset(
                {"churn", "write_error", "sync_error", "crash", "blackout", "snapshot_error", "slow_apply"}
            ),
            nodes=(3, 3, 5),
            chaos_timeouts=25,
            clients=(4, 6),
            keys=(1, 2),
            reads=(50, 70),
            stray_reads=60,
            patience=(1, 1),
            think_ms=(10, 40),
            jitter_ms=(1, 20),
            cut_off=(10_000, 40_000),
            heal=(10_000, 60_000),
            skewed=50,
        ),
        Profile(
            name="adverse",
            adverse=True,
            always=frozenset({"heal", "restart", "sync_ms", "partition", "jitter_ms"}),
            never=frozenset({"churn", "write_error", "sync_error"}),
            nodes=(3, 3, 5),
            chaos_timeouts=10,
            clients=(3, 6),
            reads=(5, 20),
            think_ms=(5, 20),
            sync_ms=(5, 60),
            jitter_ms=(5, 60),
            replay=(1_000, 20_000),
            partition=(20_000, 80_000),
            heal=(50_000, 150_000),
        ),
        Profile(
            name="shapes",
            shapes=2,
            never=frozenset({"churn", "write_error", "sync_error", "drift"}),
            nodes=(3, 3, 5),
            chaos_timeouts=5,
            clients=(1, 2),
            think_ms=(100,),
        ),
        Profile(
            name="mixed",
            mixed=True,
            always=frozenset({"heal", "restart", "sync_ms", "churn", "partition"}),
            never=frozenset({"write_error", "sync_error"}),
            nodes=(2, 3, 3, 4, 5),
            quiet_beats=(1, 2),
            chaos_timeouts=40,
            clients=(1, 3),
            keys=(1, 2),
            think_ms=(20, 200, 600),
            partition=(5_000, 40_000),
            heal=(20_000, 100_000),
            crash=(2_000, 20_000),
            restart=(50_000, 300_000),
            churn=(5_000, 60_000),
            max_log_count=(100_000, 60, 20),
        ),
        Profile(
            name="clocks",
            always=frozenset({"heal", "restart", "sync_ms", "pause", "wall_jump", "drift"}),
            never=frozenset({"write_error", "sync_error"}),
            clients=(2, 5),
            reads=(30, 60),
            pause=(5_000, 20_000),
            wall_jump=(5_000, 50_000),
            drift=(5_000, 50_000),
            skewed=100,
        ),
        Profile(
            name="machines",
            always=frozenset({"heal", "restart", "sync_ms", "crash", "partition", "snapshot_ms"}),
            never=frozenset({"write_error", "sync_error", "blackout", "slow_apply"}),
            nodes=(3, 3, 3, 5),
            chaos_timeouts=30,
            clients=(2, 4),
            think_ms=(10, 40, 120),
            reads=(10, 40),
            crash=(10_000, 60_000),
            restart=(100_000, 400_000),
            partition=(10_000, 60_000),
            heal=(50_000, 200_000),
            churn=(2_000, 20_000),
            snapshot_ms=(1, 40),
            max_log_count=(3, 6, 12, 30),
        ),
        Profile(
            name="calm",
            chaos_timeouts=10,
            always=frozenset({"sync_ms", "heal", "restart"}),
            never=frozenset(
                "loss duplicate replay clog partition crash blackout pause stall write_error sync_error churn "
                "transfer slow_sync wall_jump".split()
            ),
        ),
    )
}


def profile_named(name: str) -> Profile:
    """The profile called `name`. Raises UsageError, which lists those that exist."""
    if name not in PROFILES:
        raise UsageError(f"no profile {name!r}; there are {', '.join(sorted(PROFILES))}")
    return PROFILES[name]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What one seed drew. 0 is never."""

    jitter_ms: int
    loss: int
    duplicate: int
    replay: int
    clog: int
    partition: int
    heal: int
    crash: int
    blackout: int
    restart: int
    pause: int
    stall: int
    sync_ms: int
    slow_sync: int
    write_error: int
    sync_error: int
    read_error: int
    quota: int
    churn: int
    transfer: int
    wipe: int
    rot: int
    snapshot_ms: int
    snapshot_error: int
    transfer_error: int
    slow_apply: int
    stop: int
    cut_off: int
    decay: int
    nap: int
    eager: int
    wall_jump: int
    drift: int


def draw_rates(profile: Profile, chance: Chance) -> Rates:
    """About half of the profile's faults, each at a rate of its range."""

    def draw(name: str, limits: Range) -> int:
        rate = chance.log_between(max(1, limits[0]), max(1, limits[1]))
        is_taken = chance.below(2) == 0 or name in profile.always
        return rate if is_taken and name not in profile.never and limits[1] else 0

    return Rates(**{name: draw(name, getattr(profile, name)) for name in Rates.__struct_fields__})
