"""Every bound of the system: its value, the reason, and how the bounds relate. `check()` proves the relations.

A bound that a user may want to move is a key of `config`; what stands here follows from the protocol or was measured.
"""

from __future__ import annotations

from typing import Final

from zraft.errors import ConfigError

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_TERM: Final = 1 << 62
"""Terms and indexes above this come from nobody honest; 64-bit arithmetic on disk stays far from its edge."""

MAX_COMMAND_BYTES: Final = 1 * MIB
"""Default of `max_command_size`: what one command may weigh. etcd's request cap is 1.5 MiB."""

MAX_COMMAND_BYTES_CEILING: Final = 64 * MIB
"""What `max_command_size` may be raised to: a frame must hold one command and stay allocatable."""

MAX_NESTING: Final = 64
"""How deep a command may be nested: far from the interpreter's recursion limit, which a decoder would hit."""

BATCH_BYTES: Final = 256 * KIB
"""Payload at which a turn's proposals are cut into a further batch, so that an AppendEntries need not be split."""

BATCH_ENTRIES: Final = 4096
"""Entries at which a batch is cut: apply works in slices, and a batch is the unit that it may not leave half done."""

APPEND_BYTES: Final = 256 * KIB
"""What one AppendEntries carries at most, beyond its first batch, which always goes (BM-112)."""

WINDOW_MESSAGES: Final = 4
"""AppendEntries under way to one follower. Deep pipelines destroy batching: what waits here leaves as one message."""

WINDOW_BYTES: Final = 2 * MIB
"""Bytes under way to one follower; counted in bytes too because messages differ by a factor of thousands (BM-111)."""

UNCOMMITTED_BYTES: Final = 64 * MIB
"""Payload that a leader holds uncommitted before it answers `Overloaded` (BM-111): about a second of full speed."""

LOG_CACHE_BYTES: Final = 64 * MIB
"""Batches of one log that stay in memory for slow followers; older ones are read from the journal."""

LOAD_BYTES: Final = APPEND_BYTES
"""What one read of older batches for a follower brings: as much as one message carries; more would be read twice."""

FRAME_BYTES_HANDSHAKE: Final = 4 * KIB
"""No frame may be larger before the handshake is done: strangers make us allocate nothing."""

FRAME_BYTES: Final = 8 * MIB
"""No frame may be larger after it. Must hold an AppendEntries with one command of the largest default size.

Where `max_command_size` is raised, this is too: up to `MAX_FRAME_BYTES`."""

MAX_FRAME_BYTES: Final = APPEND_BYTES + MAX_COMMAND_BYTES_CEILING + 64 * KIB
"""What a client lets a node name as its cap: the node may have been set to the largest commands."""

FRAME_TARGET_BYTES: Final = 256 * KIB
"""A turn's messages to one connection are cut into frames of about this size: what is urgent waits for one at most."""

ITEMS_PER_FRAME: Final = 4096
"""Messages in one frame: a frame of the smallest ones must not become hundreds of megabytes of objects (BM-113)."""

LINK_BYTES: Final = 16 * MIB
"""What waits to be sent on one connection; beyond it peer traffic is dropped and clients are told `Overloaded`."""

HANDSHAKE_MS: Final = 5000
"""A connection that has not said who it is by then is closed (slowloris)."""

UNAUTHENTICATED_CONNECTIONS: Final = 128
"""Connections within their handshake; one more closes the oldest of them, which is the one that stalls."""

CLIENT_CONNECTIONS: Final = 16_384
"""Connections of clients, where the process may open so many files; one more is refused."""

OTHER_FILES: Final = 640
"""Descriptors that clients do not get (BM-115): connections of nodes and strangers, and 256 of files."""

PEER_CONNECTIONS: Final = 256
"""Connections of other nodes: one each, so this is also how many nodes may talk to one."""

UNANSWERED_REQUESTS: Final = 1 << 17
"""Requests of a client that wait for their answer on one connection; one more is refused as `Overloaded`."""

LOCAL_QUERIES: Final = 4096
"""Queries of one replica's own state that wait for a later one, which may never come; one more is refused."""

SESSIONS: Final = 100_000
"""Sessions of one group; one more is refused. Each is about 500 bytes in every replica, and a ping now and then."""

SESSION_UNANSWERED: Final = 1024
"""Writes of a session that its client has not acknowledged; one more is refused. Their replies are kept (§6.3)."""

SESSION_REPLIES_BYTES: Final = 16 * MIB
"""What the kept replies of one session may weigh before further writes are refused. Replicas that differ in this or the
two above diverge: a change needs a new format of the sessions."""

MAX_SESSION_TIMEOUT_MS: Final = 30 * 86_400_000
"""Longest session_timeout: whoever is silent for a month is gone."""

WATCHES: Final = 1 << 17
"""Open watches at one leader; one more is refused."""

WATCHES_PER_CLIENT: Final = 1 << 14
"""Open watches of one connection; one more is refused. All of them firing at once must fit in what a connection may
have waiting (`LINK_BYTES`)."""

SESSION_WATCHES: Final = 4096
"""Watches that a session's client has open, or that fired and it did not take: whoever never takes them is told so."""

HISTORY_CHANGES: Final = 1 << 16
"""Changes that every replica keeps of its group, for streams: some seconds of a busy one, more than an election takes.
At most 12 MB besides the bytes below; a fifth of what the log's own cache may take."""

HISTORY_BYTES: Final = 16 * MIB
"""The same in bytes of the commands that made them: values that were overwritten since are kept by it alone."""

STREAM_BYTES: Final = 256 * KIB
"""What a stream is told in one piece, beyond its first entry: its client asks for the next one when this is read."""

STALLED_MS: Final = 15_000
"""A connection whose other end takes nothing, or answers no keepalive, for so long is closed by the kernel."""

BULK_STRANGERS: Final = 32
"""Connections to the snapshot channel that have not said their token; one more closes the oldest of them."""

BULK_TRANSFERS: Final = 64
"""Snapshots that a node expects at once; each may take two threads, a few MiB of memory and BULK_UNSYNCED_BYTES."""

BULK_FILES: Final = 4096
"""Files of one snapshot."""

BULK_PIECE_BYTES: Final = 512 * KIB
"""Of a snapshot's file, what is moved by one call: the interpreter is taken back twice for so much, and held for the
0.05 ms that its checksum takes. It fits into the processor's cache on its way from the socket to the file."""

BULK_SYNC_BYTES: Final = 16 * MIB
"""How much of a received file is given to the disk in one go."""

BULK_UNSYNCED_BYTES: Final = 64 * MIB
"""What of a received snapshot may not be on the disk yet; beyond it nothing is received."""

BULK_TRICKLE_BYTES: Final = 4 * KIB
"""A transfer that brings less than this within STALLED_MS has stalled."""

BULK_RATE_MIN: Final = 64 * KIB
"""The lowest limit for sending a snapshot, in bytes a second: a slower one would look like a stalled one."""

BULK_VERDICT_MS: Final = 60_000
"""How long the sender of a snapshot waits for the receiver's last syncs: of BULK_UNSYNCED_BYTES, or of BULK_FILES."""

REDIAL_MIN_MS: Final = 50
REDIAL_MAX_MS: Final = 2000
"""Pauses between attempts to reach a node: doubled from the first to the second, each shortened by chance to a half."""

PEERS_PER_GROUP: Final = 31
"""Members of one configuration: a majority of more is slower and no safer."""

QUIET_BEATS: Final = 20
"""Heartbeats in which nothing happened, after which a group goes quiet: what is used now and then stays awake."""

QUIET_CLAIMS: Final = 1 << 16
"""Quiet followers that one node heartbeat names, where two nodes disagree: half a megabyte. Others have to wait."""

SIMULATED_NODES: Final = 9
"""Nodes of one simulated cluster."""

ALARM_ENTRIES: Final = 4096
"""So often, in entries, replicas compare their states: a few dozen microseconds for what takes a tenth of a second."""

ALARM_EFFECTS: Final = 32
"""Entries of those, the last ones, whose effects are looked at one by one: 1 in 128, so that a write costs nothing."""

ALARM_REPORTED: Final = 4
"""Samples in one report: what was lost comes again with the next three."""

ALARM_KEPT: Final = 16
"""Samples that a replica remembers: a follower so many intervals behind its leader is not compared until it is not."""

ALARM_WHOLE: Final = 256
"""A table or dict with no more entries is compared whole, in a fraction of a millisecond; else what changed in it."""

ALARM_SWEPT: Final = 64
"""Entries of a larger table that each comparison takes besides, further on every time, until it has seen all."""

ALARM_PATIENCE_MS: Final = 10_000
"""How long a leader that found a difference waits for a silent voter to tell which side has the majority."""

FLIGHT_EVENTS: Final = 512
"""Events of a replica's core in one stretch of its flight recorder; two are kept: what some seconds of a busy replica
bring, or a minute of an idle one."""

FLIGHT_SHARED: Final = 16_384
"""The same of all replicas of a node together, at about 0.4 KiB each; beyond 32 replicas each gets fewer."""

FLIGHT_LEAST: Final = 8
"""But no fewer than this: a checkpoint costs as much as a few events."""

FLIGHT_LOOK: Final = 64
"""After so many events it is looked whether the log has let go of batches which the recorder would keep in memory."""

RECORDING_BYTES: Final = 16 * MIB
"""What a recording may weigh: two stretches, and the positions of a log; commands are not in it."""

RECORDING_ZEROS_BYTES: Final = 512 * MIB
"""What the payloads that a recording tells the lengths of may weigh together; those of one length are one."""

RECORDINGS: Final = 16
"""Recordings in one data folder; then no further one is written, so that the first ones, which matter most, stay."""

MIN_SEGMENT_BYTES: Final = 4 * KIB
"""Smallest journal segment; production uses megabytes, simulation the smallest to meet every seam."""

MAX_SEGMENT_BYTES: Final = 1024 * MIB
"""Largest journal segment: offsets on disk have 32 bits, and recovery holds a whole segment in memory."""

JOURNAL_IDLE_MS: Final = 1000
"""Without a save for so long, the journal is told what is durable: a rotten last record is then not taken for torn."""

JOURNAL_SLICE_BYTES: Final = 1 * MIB
"""How much of the next journal segment is prepared in one go: a save that arrives meanwhile waits for no more."""

JOURNAL_COPY_BYTES: Final = 256 * KIB
"""How much of an old segment is copied forward in one go, for the same reason."""

JOURNAL_SLACK_SEGMENTS: Final = 4
"""Segments of dead records that may lie about before live ones are copied away from among them."""

SNAPSHOT_FILES: Final = 1024
"""Files of one snapshot: a backend that wants more has made a file of each value."""

MANIFEST_BYTES: Final = 256 * KIB
"""The body of a snapshot's manifest: as many files with the longest names, and the largest configuration."""

SNAPSHOT_SYNC_BYTES: Final = 8 * MIB
"""A file of a snapshot is synced whenever so much was written: one sync of gigabytes would stall the journal's."""

SNAPSHOT_SENDS: Final = 4
"""Snapshots that one node sends at once: more would only make each of them slower. Who comes later asks again."""

SNAPSHOT_WORKERS: Final = 2
"""Replicas whose snapshots are written or read at once: each costs the interpreter's time, which all others share."""

READ_GAP_BYTES: Final = 16 * KIB
"""Records of one log that lie closer together in the journal are read with what is between them, in one go."""

TABLE_TXN_ITEMS: Final = 1024
"""Comparisons and actions of one transaction of the backend "table": a few milliseconds in which nothing else runs."""

TABLE_ANSWER_ENTRIES: Final = 100_000
"""Entries in one answer of the backend "table": more would not fit in a frame, and making them takes a while."""

TABLE_TTL_S: Final = 100 * 365 * 86_400
"""Longest time to live, in seconds: a deadline stays far within 64 bits of milliseconds."""

TABLE_EXPIRIES: Final = 10_000
"""Entries that one time entry removes when their time has come; the next one follows at once. Replicas that differ in
this, or in the bounds of transactions and times, diverge: a change needs a new version of the backend."""


def check() -> None:
    """Raises `ConfigError` with every relation between the bounds that does not hold."""
    relations = {
        "APPEND_BYTES >= BATCH_BYTES": APPEND_BYTES >= BATCH_BYTES,
        "WINDOW_BYTES >= APPEND_BYTES": WINDOW_BYTES >= APPEND_BYTES,
        "FRAME_BYTES >= APPEND_BYTES + MAX_COMMAND_BYTES": FRAME_BYTES >= APPEND_BYTES + MAX_COMMAND_BYTES + 64 * KIB,
        "FRAME_BYTES_HANDSHAKE < FRAME_BYTES": FRAME_BYTES_HANDSHAKE < FRAME_BYTES,
        "FRAME_BYTES >= FRAME_TARGET_BYTES + MAX_COMMAND_BYTES": FRAME_BYTES >= FRAME_TARGET_BYTES + MAX_COMMAND_BYTES,
        "LINK_BYTES >= FRAME_BYTES": LINK_BYTES >= FRAME_BYTES,
        "MAX_FRAME_BYTES >= FRAME_BYTES": MAX_FRAME_BYTES >= FRAME_BYTES,
        "REDIAL_MIN_MS <= REDIAL_MAX_MS": REDIAL_MIN_MS <= REDIAL_MAX_MS,
        "BULK_UNSYNCED_BYTES >= 2 * BULK_SYNC_BYTES": BULK_UNSYNCED_BYTES >= 2 * BULK_SYNC_BYTES,
        "BULK_SYNC_BYTES is a multiple of BULK_PIECE_BYTES": BULK_SYNC_BYTES % BULK_PIECE_BYTES == 0,
        "BULK_RATE_MIN x STALLED_MS >= 2 * BULK_TRICKLE_BYTES": BULK_RATE_MIN * STALLED_MS >= 2000 * BULK_TRICKLE_BYTES,
        "FRAME_BYTES >= STREAM_BYTES + MAX_COMMAND_BYTES": FRAME_BYTES >= STREAM_BYTES + MAX_COMMAND_BYTES + 64 * KIB,
        "HISTORY_BYTES >= 16 * MAX_COMMAND_BYTES": HISTORY_BYTES >= 16 * MAX_COMMAND_BYTES,
        "ALARM_ENTRIES >= 16 * ALARM_EFFECTS": ALARM_ENTRIES >= 16 * ALARM_EFFECTS,
        "FLIGHT_EVENTS >= FLIGHT_LOOK >= FLIGHT_LEAST": FLIGHT_EVENTS >= FLIGHT_LOOK >= FLIGHT_LEAST,
        "ALARM_KEPT >= ALARM_REPORTED": ALARM_KEPT >= ALARM_REPORTED,
        "UNCOMMITTED_BYTES >= 2 * MAX_COMMAND_BYTES": UNCOMMITTED_BYTES >= 2 * MAX_COMMAND_BYTES,
    }
    broken = [relation for relation, holds in relations.items() if not holds]
    if broken:
        raise ConfigError([f"limit does not hold: {relation}" for relation in broken])
