"""The systems that are compared: how each is started, loaded and stopped. Everything on loopback, three nodes each."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from zraft.app.processes import PortLease, ServerProcess
from zraft.errors import ZraftError
from zraft.types import PeerId

HERE = Path(__file__).parent


class Setting(NamedTuple):
    """One row: what the clients do."""

    op: str
    clients: int
    connections: int
    total: int

    def __str__(self) -> str:
        return f"{self.op} {self.clients} on {self.connections}"


class Figure(NamedTuple):
    """One measurement of one system."""

    per_second: float
    p50_ms: float
    p99_ms: float


SETTINGS = (
    Setting("put", 1, 1, 2000),
    Setting("put", 64, 16, 40_000),
    Setting("put", 256, 64, 60_000),
    Setting("put", 1000, 100, 100_000),
    Setting("get", 1, 1, 4000),
    Setting("get", 1000, 100, 100_000),
)


class Missing(Exception):
    """The system is not installed here; the text says how to install it."""


def settle() -> None:
    """Nothing of an earlier measurement is still on its way to the disk."""
    os.sync()
    time.sleep(1.0)


@contextmanager
def folder() -> Iterator[Path]:
    """A fresh folder on the disk that BENCH_DIR names, else where temporary files go; removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_DIR")))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def ports(count: int) -> Iterator[list[int]]:
    """Free ports for as long as they are needed."""
    leases = [PortLease() for _ in range(count)]
    try:
        yield [lease.port for lease in leases]
    finally:
        for lease in leases:
            lease.release()


@contextmanager
def fresh_servers(count: int, environment: dict[str, str]) -> Iterator[dict[PeerId, ServerProcess]]:
    """They serve with fresh data, each under the peer it may get; what they said last is printed after an error."""
    with ExitStack() as stack:
        data = stack.enter_context(folder())
        servers = {}
        for port in stack.enter_context(ports(count)):
            server = ServerProcess(Path(data, f"n{port}"), f"127.0.0.1:{port}", environment=environment)
            stack.callback(server.kill)
            servers[PeerId("bench", server.address)] = server
        try:
            for server in servers.values():
                server.start()
            yield servers
        except (ZraftError, ExceptionGroup):
            for server in servers.values():
                print(f"{server.address}: {server.last_line()}", file=sys.stderr)
            raise


def three_servers(environment: dict[str, str]) -> AbstractContextManager[dict[PeerId, ServerProcess]]:
    """A group's worth of `fresh_servers`."""
    return fresh_servers(3, environment)


def cpu_seconds(pid: int) -> float:
    """User and system time of the process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Memory of the process that is in RAM; -1 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return -1.0
    return next((round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmRSS:")), -1.0)


def machine() -> str:
    """What it was measured on, for the last line of a report."""
    python, load = platform.python_version(), os.getloadavg()[0]
    return f"{os.cpu_count()} cores, Python {python}, {platform.system()}; load {load:.1f} at the end"


def _run(command: list[str], timeout: float = 300) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def zraft(size: int) -> Iterator[tuple[Setting, Figure]]:
    """Three server processes, loaded through light sessions from one client process."""
    with folder() as data, ports(3) as leased:
        servers = [ServerProcess(data / f"n{port}", f"127.0.0.1:{port}") for port in leased]
        peers = [f"bench@{server.address}" for server in servers]
        command = [sys.executable, "-m", "zraft"]
        with ExitStack() as stack:
            for server in servers:
                server.start()
                stack.callback(server.stop)
            _run([*command, "create", *peers])
            for setting in SETTINGS:
                words = ["--peers", ",".join(peers), "--op", setting.op, "--size", str(size), "--json"]
                words += ["--clients", str(setting.clients), "--connections", str(setting.connections)]
                answer = json.loads(_run([*command, "bench", *words, "--total", str(setting.total)]))
                yield setting, Figure(answer["per_second"], answer["p50_ms"], answer["p99_ms"])


def spike(size: int) -> Iterator[tuple[Setting, Figure]]:
    """The data path without safety: it runs all of its settings by itself."""
    with folder() as data:
        os.environ["SPIKE_DIR"] = str(data)
        text = _run([sys.executable, str(HERE / "spike.py"), "--size", str(size)])
    pattern = r"spike (\w+) clients=(\d+) connections=(\d+) n=\d+ ops/s=(\d+) p50=([\d.]+)ms p99=([\d.]+)ms"
    found = {
        (op, int(c), int(n)): Figure(float(r), float(a), float(b)) for op, c, n, r, a, b in re.findall(pattern, text)
    }
    for setting in SETTINGS:
        yield setting, found[setting.op, setting.clients, setting.connections]


def build_etcd_load() -> Path:
    """The compiled load generator, kept in build/. Raises Missing."""
    for tool in ("etcd", "go"):
        if shutil.which(tool) is None:
            raise Missing("apt-get install etcd-server golang-go golang-etcd-server-dev")
    binary = HERE.parent / "build" / "etcd_load"
    if not binary.exists():
        binary.parent.mkdir(exist_ok=True)
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
        command = ["go", "build", "-o", str(binary), str(HERE / "etcd_load.go")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"golang-etcd-server-dev is needed to build bench/etcd_load.go: {done.stderr.strip()[-300:]}")
    return binary


def etcd(size: int) -> Iterator[tuple[Setting, Figure]]:
    """Three etcd processes with real fsync, their leader asked, as its load generator does."""
    load = build_etcd_load()
    with folder() as data, ports(6) as leased, ExitStack() as stack:
        cluster = ",".join(f"n{i}=http://127.0.0.1:{leased[3 + i]}" for i in range(3))
        endpoints = [f"127.0.0.1:{leased[i]}" for i in range(3)]
        for i in range(3):
            stack.enter_context(_etcd_node(data, i, leased[i], leased[3 + i], cluster))
        endpoint = _etcd_leader(endpoints)
        for setting in SETTINGS:
            words = ["-endpoints", endpoint, "-op", setting.op, "-size", str(size), "-total", str(setting.total)]
            words += ["-clients", str(setting.clients), "-conns", str(setting.connections)]
            yield setting, _etcd_figure(_run([str(load), *words]))


@contextmanager
def _etcd_node(data: Path, number: int, client: int, peer: int, cluster: str) -> Iterator[None]:
    addresses = (f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}")
    command = ["etcd", "--name", f"n{number}", "--data-dir", str(data / f"n{number}")]
    command += ["--listen-client-urls", addresses[0], "--advertise-client-urls", addresses[0]]
    command += ["--listen-peer-urls", addresses[1], "--initial-advertise-peer-urls", addresses[1]]
    command += ["--initial-cluster", cluster, "--log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _etcd_leader(endpoints: list[str]) -> str:
    """Whom the others follow: asked as long as there is none."""
    environment = {**os.environ, "ETCDCTL_API": "3"}
    command = ["etcdctl", "--endpoints", ",".join(endpoints), "endpoint", "status", "-w", "json"]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            for entry in json.loads(done.stdout):
                status = entry["Status"]
                if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                    return str(entry["Endpoint"])
        time.sleep(0.2)
    raise Missing("etcd-client is needed (apt-get install etcd-client), or etcd found no leader in 30 s")


def _etcd_figure(text: str) -> Figure:
    numbers = dict(re.findall(r"([\w/]+)=([\d.]+)", text))
    return Figure(float(numbers["ops/s"]), _milliseconds(text, "p50"), _milliseconds(text, "p99"))


def _milliseconds(text: str, name: str) -> float:
    found = re.search(rf"{name}=([\d.]+)(µs|us|ms|s)", text)
    if found is None:
        raise RuntimeError(f"the load generator said: {text.strip()[-200:]}")
    return float(found[1]) * {"µs": 0.001, "us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def pysyncobj(size: int) -> Iterator[tuple[Setting, Figure]]:
    """In process, writes only: it has no linearizable reads, and no fsync."""
    if importlib.util.find_spec("pysyncobj") is None:
        raise Missing("pip install pysyncobj")
    for setting in SETTINGS:
        if setting.op == "put":
            with ports(3) as leased:
                words = ["--ports", ",".join(map(str, leased)), "--clients", str(setting.clients)]
                words += ["--total", str(min(setting.total, 200 * setting.clients, 20_000)), "--size", str(size)]
                answer = json.loads(_run([sys.executable, str(HERE / "pysyncobj_load.py"), *words]))
                yield setting, Figure(answer["per_second"], answer["p50_ms"], answer["p99_ms"])


SYSTEMS = {"zraft": zraft, "spike": spike, "etcd": etcd, "pysyncobj": pysyncobj}
