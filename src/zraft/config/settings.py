"""The settings of a node, and what is wrong with them, all of it at once.

Every check happens in the constructor, so a `Config` that exists can be used. Guarantees that secrets stand in no repr
and in no error. Leaves out whether folders and addresses can be used: that is known when the node starts.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from zraft import limits
from zraft.config.keys import KEYS, SECTION_KEYS, checked, shortened, sorted_out
from zraft.config.logs import LogConfig
from zraft.config.sources import Sources
from zraft.core.recovered import RaftSettings
from zraft.errors import ConfigError
from zraft.types import Millis

Duration: TypeAlias = int | float | timedelta
SyncMode: TypeAlias = Literal["default", "leader_dirty", "dirty"]
Path: TypeAlias = str | os.PathLike[str]


class _AsLogDir(Enum):
    """The default of `snapshot_dir`: two nodes that differ in `log_dir` alone must not share it."""

    AS_LOG_DIR = "as log_dir"

    def __repr__(self) -> str:
        return self.value


_AS_LOG_DIR: Final = _AsLogDir.AS_LOG_DIR

_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - named in order to be refused


@dataclass(frozen=True, init=False)
class Config:
    """The settings of one node. Raises `ConfigError` with every problem.

    Where a default depends on another setting the attribute has the final value, never None.
    """

    listen: str
    advertise: str
    cluster: str
    election_timeout: float
    heartbeat_interval: float
    request_timeout: float
    max_log_count: int
    max_log_bytes: int
    trailing_log_count: int
    max_segment_size: int
    max_command_size: int
    log_dir: str
    snapshot_dir: str
    snapshot_backup: bool
    snapshot_listener_addr: str
    snapshot_listener_port: int
    snapshot_receiver_addr: str
    snapshot_transfer_rate: int | None
    log_sync_mode: SyncMode
    divergence_alarm: bool
    cluster_secret: str | None = field(repr=False)
    client_secret: str | None = field(repr=False)
    log: LogConfig | None

    def __init__(
        self,
        *,
        listen: str = "127.0.0.1:7101",
        advertise: str | None = None,
        cluster: str = "default",
        election_timeout: Duration = 0.5,
        heartbeat_interval: Duration | None = None,
        request_timeout: Duration | None = None,
        max_log_count: int = 100_000,
        max_log_bytes: int = 64 * limits.MIB,
        trailing_log_count: int | None = None,
        max_segment_size: int = 10 * limits.MIB,
        max_command_size: int = limits.MAX_COMMAND_BYTES,
        log_dir: Path = "./data",
        snapshot_dir: Path | _AsLogDir = _AS_LOG_DIR,
        snapshot_backup: bool = False,
        snapshot_listener_addr: str | None = None,
        snapshot_listener_port: int = 0,
        snapshot_receiver_addr: str | None = None,
        snapshot_transfer_rate: int | None = None,
        log_sync_mode: SyncMode = "default",
        divergence_alarm: bool = True,
        cluster_secret: str | None = None,
        client_secret: str | None = None,
        log: LogConfig | Mapping[str, Any] | None = None,
    ) -> None:
        given = dict(locals())  # the arguments, by name
        del given["self"]
        values, problems = _settled(given, ())
        if problems:
            raise ConfigError(problems)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def load(cls, path: Path | None, *, environment: Mapping[str, str] | None = None, **arguments: Any) -> Config:
        """The settings of the TOML file at `path` (None: of no file), overridden by environment variables.

        `ZRAFT_<KEY>` overrides a key, `ZRAFT_LOG_<SECTION>_<KEY>` one of a table `[log.<section>]`; `arguments`, which
        are those of the constructor, override both. `environment` None: that of the process; its other variables are
        ignored. Raises `ConfigError` with every problem of all three, also where the file cannot be read.
        """
        found = Sources()
        if path is not None:
            found.take_file(path)
        found.take_environment(os.environ if environment is None else environment)
        known, unknown = sorted_out({**KEYS, "log": None}, arguments)
        settings = {**found.settings, **known}
        _, problems = _settled(settings, found.broken)
        if found.problems or unknown or problems:
            raise ConfigError([*found.problems, *unknown, *problems])
        return cls(**settings)

    @property
    def election_timeout_ms(self) -> Millis:
        return round(self.election_timeout * 1000)

    @property
    def frame_bytes(self) -> int:
        """The largest frame after the handshake: it holds the smallest AppendEntries around the largest command."""
        return max(limits.FRAME_BYTES, limits.APPEND_BYTES + self.max_command_size + 64 * limits.KIB)

    def raft_settings(self) -> RaftSettings:
        """What the protocol needs to know, in milliseconds."""
        return RaftSettings(
            election_timeout_ms=self.election_timeout_ms,
            heartbeat_ms=round(self.heartbeat_interval * 1000),
            request_timeout_ms=round(self.request_timeout * 1000),
            catch_up_ms=10 * self.election_timeout_ms,
            quiet_beats=limits.QUIET_BEATS,
            counts_unsaved=self.log_sync_mode == "leader_dirty",
            uncommitted_bytes=max(limits.UNCOMMITTED_BYTES, 2 * self.max_command_size),
        )


_DEFAULTS: Final[Mapping[str, Any]] = {
    name: parameter.default for name, parameter in inspect.signature(Config).parameters.items() if name != "log"
}


def _settled(given: Mapping[str, Any], broken: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Every setting with its final value, and every problem. What is `broken` is wrong already, and reported."""
    limits.check()
    written = {**_DEFAULTS, **given}
    if written["snapshot_dir"] is _AS_LOG_DIR:
        written["snapshot_dir"] = written["log_dir"]
    values, wrong = checked(KEYS, written, "")
    if wrong.get("snapshot_dir") and written["snapshot_dir"] is written["log_dir"]:
        del wrong["snapshot_dir"]  # said of log_dir
    problems = list(wrong.values())
    for name in broken:
        values.pop(name, None)
    _fill_in(values)
    problems += _disagreements(values)
    values["log"] = given.get("log")
    if isinstance(values["log"], Mapping):
        known, unknown = sorted_out(SECTION_KEYS, values["log"], "log.")
        problems += unknown
        try:
            values["log"] = LogConfig(**known)
        except ConfigError as error:
            problems += error.problems
    elif not isinstance(values["log"], LogConfig | None):
        problems.append(f"log: must be a table, not {shortened(values['log'])}")
    return values, problems


def _fill_in(values: dict[str, Any]) -> None:
    """The defaults that depend on other settings, where those are known."""
    listen, advertise = values.get("listen"), values.get("advertise")
    if "advertise" in values and advertise is None and listen is not None:
        advertise = listen
    election, count = values.get("election_timeout"), values.get("max_log_count")
    dependent = {
        "advertise": advertise,
        "heartbeat_interval": election and max(0.001, round(election * 200) / 1000),
        "request_timeout": election and 2 * election,
        "trailing_log_count": None if count is None else min(10_000, count // 2),
        "snapshot_listener_addr": listen and _host(listen),
        "snapshot_receiver_addr": advertise and _host(advertise),
    }
    for name, default in dependent.items():
        if name in values and values[name] is None:
            values[name] = default


def _disagreements(values: Mapping[str, Any]) -> list[str]:
    """What is wrong between settings that are right alone; a setting that is not there agrees with all."""
    listen, advertise = values.get("listen"), values.get("advertise")
    election, heartbeat = values.get("election_timeout"), values.get("heartbeat_interval")
    request, receiver = values.get("request_timeout"), values.get("snapshot_receiver_addr")
    count, trailing = values.get("max_log_count"), values.get("trailing_log_count")
    cluster_secret, client_secret = values.get("cluster_secret"), values.get("client_secret")
    problems = []
    if advertise is not None and _host(advertise) in _WILDCARDS:
        problems.append(f"advertise: must be an address that others can reach, not {advertise}")
    elif receiver in _WILDCARDS:
        problems.append(f"snapshot_receiver_addr: must be a host that others can reach, not {receiver}")
    if advertise is not None and advertise != listen and advertise.endswith(":0"):
        problems.append("advertise: must name a port: nobody can reach port 0")
    if election is not None and heartbeat is not None and heartbeat >= election:
        problems.append(f"heartbeat_interval: must be shorter than election_timeout, {heartbeat} < {election}")
    if request is not None and heartbeat is not None and request < heartbeat:
        problems.append(f"request_timeout: must not be shorter than heartbeat_interval, {request} >= {heartbeat}")
    if count is not None and trailing is not None and trailing > count // 2:
        problems.append(f"trailing_log_count: must be at most half of max_log_count, {trailing} <= {count // 2}")
    if cluster_secret is not None and cluster_secret == client_secret:
        problems.append("client_secret: must differ from cluster_secret, or every client could speak as a peer")
    return problems


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
