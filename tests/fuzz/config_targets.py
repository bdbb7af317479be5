"""Targets: settings, from a file, from the environment, and from Python."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tests.fuzz.kit import Cost, Target
from zraft.config import Config
from zraft.config.keys import KEYS, SECTION_KEYS
from zraft.errors import ConfigError

FILES = (
    b'listen = "127.0.0.1:7101"\nelection_timeout = "500ms"\nmax_log_bytes = "10MiB"\n',
    b'advertise = "n1:7101"\nlog_sync_mode = "dirty"\nsnapshot_backup = true\nmax_log_count = 20\n',
    b'[log.console]\noutput = "both"\nsize = "1MiB"\n[log.error]\nrotation = "$D0"\nkeep = 3\n[log.crash]\nkeep = 1\n',
    b'cluster = "c"\ncluster_secret = "one"\nclient_secret = "two"\nheartbeat_interval = 100\n',
)
WORDS = (
    "0", "-1", "1", "500ms", "0.5s", "1h", "9" * 400 + "s", "10MiB", "1e400TiB", "nan", "inf", "true", "off", "none",
    "", "127.0.0.1:7101", "[::1]:1", "a:99999", "*:1", "dirty", "$D0", "$W9D99", "x" * 5000, "\x00", "é", "a\nb",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *WORDS, None, True, -1, 0, 1, 0.5, 60, 1e308, float("nan"), float("-inf"), 2**63, 10**40, b"x", [], {}, [1],
    {"console": {"size": -1}}, {"error": 3}, {"nothing": {}}, {"crash": {"keep": "many"}},
)  # fmt: skip


def _same(config: Config) -> None:
    """What was taken keeps its promises, however it was said."""
    assert 0.001 <= config.heartbeat_interval < config.election_timeout <= 60
    assert 0 < config.max_command_size < config.frame_bytes
    assert config.raft_settings().heartbeat_ms >= 1
    named = {name: getattr(config, name) for name in (*KEYS, "log")}
    assert Config(**named) == config


def _file(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "zraft.toml")
        path.write_bytes(data)
        _same(Config.load(path, environment={}))


def _environment(data: bytes) -> None:
    """Of lines like those of `env`; whatever else the bytes are, some variables."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    _same(Config.load(None, environment=dict(line.partition("=")[::2] for line in lines)))


def _environments(chance: Random) -> Sequence[bytes]:
    names = [*(f"ZRAFT_{key.upper()}" for key in KEYS)]
    names += [f"ZRAFT_LOG_{section}_{key}".upper() for section, keys in SECTION_KEYS.items() for key in keys]
    return [
        "\n".join(f"{chance.choice(names)}={chance.choice(WORDS)}" for _ in range(1 + chance.randrange(3))).encode()
        for _ in range(150)
    ]


def _python(data: bytes) -> None:
    """A dict of arguments, as MessagePack."""
    try:
        arguments = msgspec.msgpack.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ConfigError(["no arguments at all"]) from None
    _same(Config.load(None, environment={}, **arguments))


def _arguments(chance: Random) -> Sequence[bytes]:
    names = [*KEYS, "log", "nothing"]
    found = []
    for _ in range(150):
        given = {chance.choice(names): chance.choice(VALUES) for _ in range(1 + chance.randrange(3))}
        found.append({name: value if value != 10**40 else 2**64 - 1 for name, value in given.items()})
    return [msgspec.msgpack.encode(each) for each in found]


CONFIG_TARGETS = (
    Target("config.file", _file, (ConfigError,), lambda _: FILES, cost=Cost.FOLDERS, peak_bytes=1 << 20),
    Target("config.environment", _environment, (ConfigError,), _environments),
    Target("config.python", _python, (ConfigError,), _arguments),
)
