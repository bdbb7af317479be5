"""The museum: documented bugs of real systems, each of which a test plays here so that none of them is repeated.

An exhibit's tests are found by its number, which their names begin with; mutants that put a bug back carry it as their
name. `python -m tests.museum.page` makes docs/museum.md of all three.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exhibit:
    """One bug. `seen`: where, as `owner/repository#number` or any other name, separated by commas.

    `unplayed`: why no test plays it. `starred`: a mutant must put it back.
    """

    id: str
    seen: str
    what: str
    starred: bool = False
    unplayed: str = ""


@dataclass(frozen=True)
class Hall:
    """Exhibits about one thing."""

    title: str
    exhibits: tuple[Exhibit, ...]


def _bug(number: str, seen: str, what: str, *, unplayed: str = "") -> Exhibit:
    return Exhibit(f"BM-{number.rstrip('*')}", seen, what, number.endswith("*"), unplayed)


HALLS = (
    Hall(
        "Elections, votes, terms",
        (
            _bug(
                "001*",
                "bakwc/PySyncObj#84, NodeDB 161, datatechnology/cornerstone#65",
                "A vote is sent before it is on disk; after a crash the node votes again in the same term.",
            ),
            _bug(
                "002*",
                "bakwc/PySyncObj#202, bakwc/PySyncObj#201",
                "The term begins at 0 after a restart; when all restart, an old log of a larger term overwrites "
                "what was committed.",
            ),
            _bug(
                "003*",
                "ktoso/akka-raft#56, microsoft/CCF#8094, canonical/raft#196",
                "Who steps down within a term forgets for whom it voted, and votes twice in it.",
            ),
            _bug(
                "004*",
                "canonical/raft#196",
                "Answers to a pre-vote look like votes; one that comes late is counted as one.",
            ),
            _bug(
                "005*",
                "andreev-io/little-raft#44, ktoso/akka-raft#47",
                "A vote that was given in an earlier term counts.",
            ),
            _bug("006*", "xnnyygn/xraft#27", "A vote that arrives twice counts twice."),
            _bug(
                "007",
                "vesoft-inc/nebula#2405",
                "A late message of an old leader lowers the term that was voted in, so that the vote is forgotten.",
            ),
            _bug(
                "008",
                "camunda/camunda#5356, camunda/camunda#1068",
                "Within milliseconds one node gives two votes in one term, while its disk is busy.",
            ),
            _bug("009", "daos-stack/raft#70", "A leader votes for somebody else in the term that it leads."),
            _bug("011", "eBay/NuRaft#531", "Two leaders in one term are noticed, and the program goes on."),
            _bug(
                "012",
                "ktoso/akka-raft#49",
                "Servers vote for, and count, servers outside their configuration: two quorums without a "
                "common member.",
            ),
            _bug(
                "013*",
                "willemt/raft#118, RedisLabs/raft#49",
                "Loading a snapshot sets the term to that of the snapshot, even if it was larger before.",
            ),
        ),
    ),
    Hall(
        "Replication and commit",
        (
            _bug(
                "014*",
                "zhebrak/raftos#26, ktoso/akka-raft#66, lerna-stack/akka-entity-replication#152",
                "A late, shorter AppendEntries makes the follower cut off entries that match and may be committed.",
            ),
            _bug(
                "015*",
                "microsoft/CCF#5991, microsoft/CCF#6016",
                "A late refusal takes the leader's index back, and the follower cuts its log, below what is "
                "committed, before it has seen a conflict.",
            ),
            _bug(
                "016*",
                "microsoft/CCF#6016",
                "A follower acknowledges up to the end of its own log instead of the end of what was sent.",
            ),
            _bug(
                "017*",
                "bakwc/PySyncObj#167, zhebrak/raftos#25, microsoft/CCF#5326",
                "Replies out of order, or refusals, move the match index back.",
            ),
            _bug(
                "018*",
                "scylladb/scylladb#9965",
                "A follower commits what the leader committed without having verified its own log that far.",
            ),
            _bug("019*", "bakwc/PySyncObj#166", "The commit index falls when a new leader knows of less."),
            _bug(
                "020*",
                "logcabin/logcabin#44, goraft/raft#27, async-raft/async-raft#108, canonical/raft#220, "
                "bakwc/PySyncObj#169",
                "Entries of earlier terms are committed by counting replicas: figure 8 of the paper.",
            ),
            _bug(
                "021",
                "zhebrak/raftos#30, canonical/raft#220, raftscope 15",
                "What an earlier leader left is not committed until somebody writes again.",
            ),
            _bug(
                "023*",
                "databendlabs/openraft#1795",
                "A read error makes the leader send entries without the one before them; the follower takes them "
                "and has a hole in its log.",
            ),
            _bug(
                "024",
                "rafter 34",
                "An entry that is overwritten keeps its index wrong, or its configuration stays in force.",
            ),
            _bug(
                "025*",
                "etcd-io/raft#8",
                "With a disk that works asynchronously the completion of an old write at an index acknowledges "
                "another entry that stands there now.",
            ),
            _bug(
                "027*",
                "baidu/braft#119",
                "A suffix is deleted from its beginning on; a crash in between leaves a hole, and entries "
                "that come back.",
            ),
            _bug(
                "030",
                "redpanda-data/redpanda#14794",
                "Readers see entries that only the leader has; they are gone after its death.",
            ),
        ),
    ),
    Hall(
        "Membership",
        (
            _bug(
                "031*",
                "raft-dev 2015, atomix/copycat#23, baidu/braft#182, databendlabs/openraft#2051",
                "A leader changes the members before an entry of its own term is committed; changes of two terms "
                "need not share a voter.",
            ),
            _bug(
                "032*",
                "etcd-io/etcd#7625, etcd-io/etcd#5004",
                "A configuration counts when it is applied; who applies late campaigns with an old one.",
            ),
            _bug(
                "033*",
                "camunda/camunda#60086, camunda/camunda#61854",
                "A new leader appends the final configuration before the joint one is committed.",
            ),
            _bug(
                "034*",
                "camunda/camunda#63163, eBay/NuRaft#67, datatechnology/jraft#1",
                "After a restart, or with a new leader, an appended configuration is forgotten.",
            ),
            _bug(
                "035*",
                "databendlabs/openraft#1808, databendlabs/openraft#1809",
                "A snapshot takes the place of a log with an uncommitted configuration, which stays in force.",
            ),
            _bug(
                "038",
                "moby/swarmkit#238, orion 392",
                "The members are not in the snapshot, and are lost when the log before it is.",
            ),
            _bug(
                "039*",
                "etcd-io/etcd#10998, tikv/raft-rs#57",
                "A learner that has not heard of its promotion refuses its vote, and nobody can be elected.",
            ),
            _bug("041", "etcd-io/etcd#21694", "A change of a learner's address makes it a voter."),
            _bug(
                "042*",
                "logcabin/logcabin#56, etcd's notes on pre-vote",
                "A removed server does not know it, and campaigns for ever.",
            ),
            _bug(
                "043*",
                "databendlabs/openraft#2002, etcd-io/etcd#10254, etcd-io/etcd#3504, RedisLabs/redisraft#70",
                "A server that lost its disk comes back under its name and is believed to have what it acknowledged.",
            ),
            _bug(
                "045",
                "RedisLabs/redisraft#17, RedisLabs/redisraft#28, RedisLabs/redisraft#44",
                "An isolated leader removes members until it is a majority: both sides go on.",
            ),
            _bug("046", "d-engine 431", "At each restart the members are those of a configuration file."),
            _bug(
                "047",
                "etcd-io/etcd#20967, etcd-io/etcd#13196",
                "The members are kept in two places that drift apart; who was removed comes back with an upgrade.",
            ),
            _bug(
                "048",
                "tikv/pd#11236",
                "A new member votes before it runs: a group of one needs two, and writes stop.",
            ),
        ),
    ),
    Hall(
        "Snapshots",
        (
            _bug(
                "050*",
                "hashicorp/raft#697, hashicorp/raft#704",
                "An installed snapshot keeps a conflicting entry at its index; every AppendEntries fails from then on.",
            ),
            _bug(
                "051*",
                "eBay/NuRaft#407",
                "A snapshot is installed while older entries are being applied: the state is older than its index.",
            ),
            _bug(
                "052",
                "RedisLabs/raft#49, willemt/raft#118",
                "An AppendEntries that reaches back before the snapshot appends entries twice.",
            ),
            _bug(
                "053*",
                "RedisLabs/redisraft#43, canonical/dqlite#309, canonical/raft#199, RaftKeeper 312",
                "A crash leaves a gap between snapshot and log, or an overlap, and the server does not start again.",
            ),
            _bug("054", "RedisLabs/redisraft#654", "A half written snapshot is loaded at the next start."),
            _bug(
                "056*",
                "ZOOKEEPER-3642",
                "A snapshot is installed in memory only; what it covered is lost with the next restart.",
            ),
            _bug(
                "057*",
                "ZOOKEEPER-3911, ZOOKEEPER-4785",
                "What follows a synchronisation is acknowledged before the synchronised part is on disk.",
            ),
            _bug(
                "060",
                "rabbitmq/ra#589",
                "After a crash segments are deleted that something still refers to; a half written index "
                "stops the start.",
            ),
            _bug(
                "062",
                "scylladb/scylladb#28082, scylladb/scylladb#27614",
                "A snapshot covers a leader's pending command, and its client is told a guess.",
            ),
        ),
    ),
    Hall(
        "Reads",
        (
            _bug(
                "063*",
                "etcd-io/etcd#7331, RedisLabs/redisraft#18, RedisLabs/redisraft#19, adjoint-io/raft#41",
                "A new leader answers reads before it has committed anything of its term.",
            ),
            _bug(
                "064*",
                "etcd-io/etcd#20418, etcd-io/raft#397",
                "Answers to the first try of a read confirm the leadership for the second one, after a pause.",
            ),
            _bug(
                "066*",
                "sofastack/sofa-jraft#34, sofastack/sofa-jraft#26, tikv/tikv#964, vesoft-inc/nebula#2723",
                "A lease for reads outlives the leadership: it is too long, or measured with a clock that jumps.",
            ),
            _bug(
                "067*",
                "hashicorp/consul#54, d-engine 381, xnnyygn/xraft#40, Xline 870",
                "A leader that is cut off answers reads without asking anybody.",
            ),
        ),
    ),
    Hall(
        "Sessions, exactly once",
        (
            _bug(
                "068*",
                "etcd-io/etcd#15247, etcd-io/etcd#12528, etcd-io/etcd#16822",
                "An old leader wakes from a stuck disk and revokes every lease, though clients kept them "
                "alive elsewhere.",
            ),
            _bug(
                "070*",
                "etcd-io/etcd#2660",
                "Sessions end right after an election, in which nobody could keep them alive.",
            ),
            _bug(
                "071*",
                "etcd-io/etcd#12291, logcabin/logcabin#90",
                "Sessions end, or never do, because a wall clock was set.",
            ),
            _bug("073", "juju/juju#13452", "A replicated clock gets stuck, and leases never end."),
            _bug(
                "074",
                "etcd-io/etcd#11456, etcd-io/etcd#11457",
                "A lock is granted to somebody whose lease ended while it waited.",
            ),
            _bug("075", "etcd-io/etcd#17642", "Asked during a change of leader, a lease has 9223372036 seconds left."),
            _bug(
                "076*",
                "rabbitmq/khepri#250, rabbitmq/ra#145, Xline 88, tidwall/summitdb#5",
                "A command that is sent again to the next leader runs twice.",
            ),
            _bug(
                "078*",
                "etcd-io/etcd#13766, etcd-io/etcd#13514, etcd-io/etcd#14685",
                "State and applied index are not stored as one: after a crash entries are skipped, or applied twice.",
            ),
            _bug(
                "079",
                "shaj13/raft#27, hashicorp/raft#142, databendlabs/openraft#1246",
                "After a restart a durable machine applies again, or a single one never applies what is committed.",
            ),
            _bug(
                "080",
                "CURATOR-45, CURATOR-264",
                "The answer to the creation of an ephemeral node is lost, the second try makes a second "
                "one: nobody leads.",
            ),
        ),
    ),
    Hall(
        "Watches",
        (
            _bug("082*", "etcd-io/etcd#15271", "After a partition a watch goes back in time."),
            _bug("083*", "etcd-io/etcd#17529", "A slow reader misses events and is not told."),
            _bug(
                "084*",
                "etcd-io/etcd#18089, etcd-io/etcd#19179",
                "A deletion at the revision of a compaction is never reported.",
            ),
            _bug("086", "etcd-io/etcd#15220", "A progress report names a revision whose events are still to come."),
            _bug("087", "etcd-io/etcd#17247", "A transaction that touches a key twice is reported twice."),
            _bug(
                "089",
                "cybertec-postgresql/vip-manager#399, apache/pulsar#23138",
                "A client takes a dead watch for one that is alive: two owners of an address for a week.",
            ),
        ),
    ),
    Hall(
        "Disks",
        (
            _bug(
                "090*",
                "bakwc/PySyncObj#84, lni/dragonboat#201, tikv/tikv#994, sebadob/hiqlite#361, robustmq 2039",
                "A write is acknowledged, or the leader counts itself, before it is on disk.",
            ),
            _bug(
                "091*",
                "nats-io/nats-server#7564, nats-io/nats-server#7567",
                "Writes are synced every two minutes: one loss of power and two pauses make two histories.",
            ),
            _bug("092*", "etcd-io/etcd#14370", "A member that is alone acknowledges before its log is synced."),
            _bug(
                "093*",
                "rostam 94, yugabyte/yugabyte-db#33816, PostgreSQL's fsync errors of 2018, neondatabase/neon#9108",
                "A sync fails, the next one succeeds, and what was lost in between counts as written.",
            ),
            _bug(
                "094*",
                "etcd-io/etcd#5230, etcd-io/etcd#6515, etcd-io/etcd#6271, etcd-io/etcd#4903",
                "A write that a power loss tore at a sector's boundary is taken for corruption: the "
                "server does not start.",
            ),
            _bug(
                "095*",
                "nats-io/nats-server#7549, eBay/NuRaft#185, rabbitmq/ra#175",
                "A flipped bit in the log of a minority cuts the log there, and acknowledged entries are "
                "gone everywhere.",
            ),
            _bug(
                "096*",
                "protocol-aware recovery, FAST 2018",
                "A follower cuts its log at a damaged entry, votes for those who lack it, and it is overwritten.",
            ),
            _bug(
                "097",
                "nats-io/nats-server#7556",
                "A damaged snapshot is taken for an empty state, and everything that is not in it is "
                "deleted everywhere.",
            ),
            _bug(
                "098*",
                "etcd-io/etcd#2819, etcd-io/etcd#3591, etcd-io/etcd#4220, canonical/dqlite#309, neondatabase/neon#6402",
                "A full disk leaves a damaged log, and to repair it needs space.",
            ),
            _bug(
                "099*",
                "tarantool/tarantool#9399, hashicorp/raft#503, bakwc/PySyncObj#164, canonical/dqlite#589, "
                "hashicorp/vault#14372",
                "A leader whose disk stands still goes on sending heartbeats: nothing is committed for hours.",
            ),
            _bug(
                "100*",
                "ClickHouse/ClickHouse#116316, baidu/braft#254, RedisLabs/redisraft#548",
                "A new file is synced, its folder is not, and it is gone after a power loss.",
            ),
            _bug("102", "rabbitmq/ra#170", "An empty file that a power loss left stops the start."),
            _bug(
                "103*",
                "bakwc/PySyncObj#197, cockroachdb/cockroach#2592, cockroachdb/cockroach#30260, tikv/tikv#10078",
                "What is stored apart from the log is ahead of it after a crash: panic, or deadlock.",
            ),
            _bug(
                "106",
                "ArcadeData/arcadedb#5345",
                "Snapshots are taken by the number of entries only; few large ones fill the disk.",
            ),
        ),
    ),
    Hall(
        "Network, memory, liveness",
        (
            _bug(
                "107*",
                "Cloudflare's outage of November 2020, palantir/atlasdb#1686",
                "Two of three do not reach each other: they take the leadership from one another for hours.",
            ),
            _bug(
                "108*",
                "OmniPaxos on partial partitions, databendlabs/openraft#2080",
                "A leader that reaches one follower only keeps that one loyal, and so a quorum from electing.",
            ),
            _bug(
                "109*",
                "etcd-io/etcd#8243, etcd-io/etcd#8501, canonical/raft#279, databendlabs/openraft#1796, "
                "redpanda-data/redpanda#30815",
                "The longer log has the lower term; refused pre-votes do not tell it, and nobody is ever elected.",
            ),
            _bug(
                "111*",
                "cockroachdb/cockroach#90314, etcd-io/etcd#10167, etcd-io/raft#11, scylladb/scylladb#11559, "
                "nats-io/nats-server#7853",
                "What is under way is bounded in messages and not in bytes; what is not committed is not "
                "bounded at all.",
            ),
            _bug(
                "112*",
                "atomix/copycat#181, RedisLabs/raft#53, cowsql 73",
                "An entry as large as a message is never sent; a backlog goes in one message; lost messages keep "
                "their place in the window.",
            ),
            _bug(
                "113*",
                "cubefs/cubefs#4095, etcd audit TOB-ETCD-006 and 007",
                "A claimed length decides how much is allocated: 20 bytes ask for 96 GiB.",
            ),
            _bug(
                "114*",
                "restatedev/restate#2963, cockroachdb/cockroach#15801, hashicorp/raft#173, openziti/fabric#576, "
                "moby/swarmkit#1148",
                "A message for another node, cluster or life is accepted.",
            ),
            _bug(
                "115",
                "etcd-io/etcd#2477, etcd-io/etcd#12603, logcabin/logcabin#198, hashicorp/nomad#3686",
                "Clients use up the file descriptors; the log cannot be opened and the server ends.",
            ),
            _bug(
                "116",
                "bakwc/PySyncObj#161, bakwc/PySyncObj#121",
                "A connection closes while it is being set up, and the exception ends the thread that does everything.",
            ),
        ),
    ),
    Hall(
        "Upgrades, determinism, security",
        (
            _bug(
                "117*",
                "hashicorp/nomad#26425, hashicorp/nomad#14819, hashicorp/raft#139, cockroachdb/cockroach#9347",
                "Old servers meet an entry that they do not know: they end again and again, or skip it.",
            ),
            _bug(
                "118*",
                "robustirc/robustirc#45, hyperledger/fabric#5467",
                "One command makes apply raise, on every server, at every start.",
            ),
            _bug("119*", "hashicorp/nomad#13725", "Apply reads the clock: replicas differ."),
            _bug(
                "120",
                "CVE-2018-8012, ArcadeData/arcadedb#3890",
                "Whoever reaches the port may vote and append.",
            ),
            _bug(
                "121",
                "CVE-2023-44981",
                "A part of the identity that may be missing is missing, and the check is skipped.",
            ),
            _bug(
                "122",
                "NodeDB 58, etcd audit TOB-ETCD-017",
                "Certificates are not verified in the way that production takes.",
                unplayed="There is no TLS here yet: nodes and clients prove that they know a secret, and a server that "
                "listens to others than its own machine does not start without one.",
            ),
            _bug(
                "123",
                "CVE-2026-54250",
                "A snapshot to be restored names files outside its folder, and they are written.",
            ),
            _bug(
                "124",
                "PySyncObj, tcp_connection.py",
                "Messages are decompressed without a bound and unpickled: whoever reaches the port runs code.",
            ),
            _bug(
                "125",
                "etcd audit TOB-ETCD-003, 011 and 012",
                "Passwords stand in the log; the rights of the data folder are not looked at; a negative number in "
                "the configuration starts an endless loop.",
            ),
        ),
    ),
)
"""All of them."""
