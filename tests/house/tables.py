"""The rules of the house as data: layers, bans, sizes, floors and their few, reasoned exceptions.

Every other file here is the mechanism. To change a rule, change its row; an exception names its reason, and one that
is no longer needed fails the tests, so that the tables describe the code that is there.
Paths are relative to the repository and written with `/`; a function is named `path::Class.method`.
"""

from __future__ import annotations

# Modules that hold only names and values. Everybody may import them, they import only each other.
SHARED = frozenset({"types", "errors", "limits"})

# From bottom to top: what a room may import of zraft besides itself and SHARED. "*" is everything.
LAYERS: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "wire": frozenset({"core"}),
    "machine": frozenset({"wire"}),
    "session": frozenset({"core", "machine", "wire"}),
    "storage": frozenset({"core", "wire"}),
    "peer": frozenset({"core", "wire", "machine", "session", "storage"}),
    "transport": frozenset({"wire"}),
    "config": frozenset({"core"}),
    "node": frozenset({"config", "core", "wire", "machine", "session", "storage", "peer", "transport"}),
    "client": frozenset({"wire", "transport"}),
    "sim": frozenset({"core", "wire", "machine", "session", "storage", "peer"}),
    "app": frozenset({"*"}),
    # Doors for users: single modules that gather names of the rooms.
    "__init__": frozenset({"*"}),
    "__main__": frozenset({"*"}),
    "blocking": frozenset({"*"}),
    "testing": frozenset({"*"}),
    "table": frozenset({"machine"}),
    "recipes": frozenset({"client", "machine"}),
}

# Libraries from outside, and the rooms that may use them ("*": all). What is not listed is not a dependency.
LIBRARIES: dict[str, frozenset[str]] = {
    "msgspec": frozenset({"*"}),
    "google_crc32c": frozenset({"*"}),
    "sortedcontainers": frozenset({"*"}),
    "uvloop": frozenset({"app", "blocking"}),
    "click": frozenset({"app"}),
    "pytest": frozenset({"testing"}),
}

# Rooms that decide and never touch the world: what runs here runs in the simulator byte for byte as in production.
PURE_ROOMS = frozenset({"core", "wire", "machine", "session", "storage", "peer", "sim"})

# Clocks, chance, threads, files, sockets: the world.
IMPURE_MODULES = frozenset(
    "asyncio concurrent io logging multiprocessing os pathlib queue random secrets select selectors shutil signal "
    "socket ssl subprocess tempfile threading time uuid uvloop".split()
)

# Builtins that reach the world, or whose answer differs between two runs of one seed.
IMPURE_BUILTINS = frozenset({"hash", "id", "input", "open", "print"})

# (path, module or builtin) -> reason. Only for sim, whose command-line entry has to meet the world somewhere.
PURITY_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("src/zraft/sim/conformance/processes.py", module): "an exam runs a backend in other processes, and times it"
    for module in ("open", "os", "pathlib", "subprocess", "tempfile", "time")
}

# Code from data: refused everywhere in src. A remote party can never make a node import or run anything.
DYNAMIC_MODULES = frozenset({"code", "dill", "imp", "importlib", "marshal", "pickle", "runpy", "shelve", "yaml"})
DYNAMIC_BUILTINS = frozenset({"__import__", "compile", "eval", "exec"})

# (folder, module) -> reason.
DYNAMIC_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("src/zraft/node/", "importlib.metadata"): "backends that the operator installed, by entry point and by local name",
    ("src/zraft/app/", "importlib.metadata"): "the version that --version prints; what its user names for an exam",
    ("src/zraft/app/", "importlib.resources"): "the dashboard's own files: data, never code",
}

# path::function -> reason. A broad except stands only at a boundary that ends a task, a peer or a connection.
BROAD_EXCEPTS: dict[str, str] = {
    "src/zraft/session/machine.py::ReplicatedMachine._apply_items": "whatever a backend raises is that entry's result",
    "src/zraft/session/machine.py::ReplicatedMachine.answer": "whatever a backend raises is that query's answer",
    "src/zraft/session/machine.py::ReplicatedMachine.offers_stream": "the same for a stream",
    "src/zraft/session/outcomes.py::attempted": "whatever a backend raises is named by its class",
    "src/zraft/transport/link.py::Link._guarded": "the boundary of a connection: ends it, and the owner is told",
    "src/zraft/transport/bulk.py::Receiver._run": "the boundary of a thread: the transfer fails, its owner is told",
    "src/zraft/transport/bulk.py::Receiver._tell": "the owner's own error: it must not end the thread before its time",
    "src/zraft/transport/bulk_door.py::Door._run": "the boundary of a thread: everything is closed, the log says why",
    "src/zraft/blocking/node.py::Node.stop": "the boundary of a thread: whoever waits for the node later is told again",
    "src/zraft/client/upkeep.py::Upkeep._tick": "the boundary of a timer: ends the client, whose close raises it",
    "src/zraft/node/node.py::Node._turn": "the boundary of the event loop: stops the node with the error",
    "src/zraft/node/node.py::Node._tell": "the boundary of the event loop: stops the node with the error",
    "src/zraft/node/node.py::Node._stop": "the way down itself failed: wait_closed raises it",
    "src/zraft/node/node.py::Node.start": "what was opened is closed again; the error goes on",
    "src/zraft/node/installed.py::with_installed": "importing a stranger's module may raise anything: it is left out",
    "src/zraft/node/disk.py::RealDisk._attempt": "the boundary of the writer thread: the store hears of whatever it is",
    "src/zraft/node/disk.py::open_data_folder": "what was opened is closed again; the error goes on",
    "src/zraft/node/vault.py::RealVault._attempt": "the boundary of a worker: the host hears of whatever it is",
    "src/zraft/node/vault.py::RealVault._begin_fetch": "what was begun is removed; the error goes on",
    "src/zraft/node/transfers.py::NodeTransfers._guarded": "the boundary of the event loop: stops the node",
    "src/zraft/node/transfers.py::NodeTransfers._push": "the boundary of a sending thread: the node hears of it",
    "src/zraft/node/keeper.py::Keeper.__init__": "what was opened is closed again; the error goes on",
    "src/zraft/sim/run.py::attempt": "a seed is reported as failed with whatever ended it, and the next ones run",
    "src/zraft/sim/trials/examination.py::broken": "a user's invariant may raise anything: that is what it says",
    "src/zraft/sim/conformance/trial.py::attempt": "whatever a user's code raises is a finding",
    "src/zraft/peer/shelf.py::Shelf._load": "a user's install_snapshot may raise anything: that snapshot is of no use",
    "src/zraft/peer/host.py::Host.make_machine": "a user's constructor may raise anything: that peer is failed",
}

FILE_LINES = 600
FUNCTION_LINES = 70
HOT_LOOP_LINES = 120
HOT_LOOPS_AT_MOST = 5

# path::function -> reason: loops in which a call per item costs more than the length costs the reader.
HOT_LOOPS: dict[str, str] = {}

# A room without a noun is no room.
REFUSED_NAMES = frozenset({"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"})

# Percent of lines and branches that the suites together must reach, per room; ELSEWHERE for every other.
COVERAGE_FLOORS: dict[str, float] = dict.fromkeys(("core", "wire", "machine", "session", "storage", "peer"), 95.0)
COVERAGE_ELSEWHERE = 85.0

# Never in a file of the project: hosts of package indexes (a mirror may stand in for them), paths of one machine, and
# notes that a reader of the project does not have. Written in two parts, so that this file does not contain them.
FORBIDDEN_WORDS = tuple(
    first + second
    for first, second in (
        ("pypi", ".org"),
        ("pythonhosted", ".org"),
        ("npmjs", ".org"),
        ("crates", ".io"),
        ("proxy.golang", ".org"),
        ("deb.debian", ".org"),
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("../sha", "red"),
        ("DESIGN", ".md"),
        ("STYLE", ".md"),
        ("API", ".md"),
        ("thesis-rules", ".md"),
        ("bug-museum", ".md"),
    )
)
