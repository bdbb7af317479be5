"""Settings: the defaults of the contract, what a file and the environment say, and every problem at once."""

from __future__ import annotations

import dataclasses
import math
import string
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.config import Config, ConsoleLog, CrashLog, ErrorLog, LogConfig
from zraft.config.rotation import parse_rotation
from zraft.config.settings import SyncMode
from zraft.errors import ConfigError

SECRET = "canary-7c1f"


def problems(**settings: Any) -> list[str]:
    """What is wrong with these, by the constructor."""
    with pytest.raises(ConfigError) as error:
        Config(**settings)
    return list(error.value.problems)


def written(tmp_path: Path, text: str) -> Path:
    """A file with this in it."""
    path = tmp_path / "zraft.toml"
    path.write_text(text, encoding="utf-8")
    return path


def load(tmp_path: Path, text: str, environment: dict[str, str] | None = None, **arguments: Any) -> Config:
    """The settings of this file and this environment."""
    return Config.load(written(tmp_path, text), environment=environment or {}, **arguments)


def test_the_defaults_are_those_of_the_contract() -> None:
    """Each of them, in seconds and bytes."""
    config = Config()
    assert dataclasses.asdict(config) == {
        "listen": "127.0.0.1:7101",
        "advertise": "127.0.0.1:7101",
        "cluster": "default",
        "election_timeout": 0.5,
        "heartbeat_interval": 0.1,
        "request_timeout": 1.0,
        "max_log_count": 100_000,
        "max_log_bytes": 64 << 20,
        "trailing_log_count": 10_000,
        "max_segment_size": 10_485_760,
        "max_command_size": 1 << 20,
        "log_dir": "./data",
        "snapshot_dir": "./data",
        "snapshot_backup": False,
        "snapshot_listener_addr": "127.0.0.1",
        "snapshot_listener_port": 0,
        "snapshot_receiver_addr": "127.0.0.1",
        "snapshot_transfer_rate": None,
        "log_sync_mode": "default",
        "divergence_alarm": True,
        "cluster_secret": None,
        "client_secret": None,
        "log": None,
    }


def test_the_divergence_alarm_can_be_switched_off_everywhere(tmp_path: Path) -> None:
    """In Python, in a file, in the environment, which overrides the file."""
    assert Config(divergence_alarm=False).divergence_alarm is False
    assert load(tmp_path, "divergence_alarm = false").divergence_alarm is False
    off = {"ZRAFT_DIVERGENCE_ALARM": "off"}
    assert load(tmp_path, "divergence_alarm = true", off).divergence_alarm is False
    assert problems(divergence_alarm="no") == ["divergence_alarm: must be true or false, not 'no'"]


def test_the_log_has_its_defaults() -> None:
    """Three tables."""
    log = LogConfig()
    assert (log.console.output, log.console.level, log.console.file) == ("console", "info", "./log/console.log")
    assert (log.error.file, log.error.messages_per_second) == ("./log/error.log", 100)
    assert (log.crash.enabled, log.crash.file, log.crash.maximum_message_size) == (True, "./log/crash.log", 64 << 10)
    for table in (log.console, log.error, log.crash):
        assert (table.size, table.rotation, table.keep) == (10 << 20, "$D0", 5)


def test_defaults_follow_the_settings_they_depend_on() -> None:
    """Times follow the election timeout, hosts the addresses, the trailing entries the log."""
    config = Config(election_timeout=2, max_log_count=1000, listen="[::1]:7000", advertise="db.example:7001")
    assert (config.heartbeat_interval, config.request_timeout, config.trailing_log_count) == (0.4, 4.0, 500)
    assert (config.snapshot_listener_addr, config.snapshot_receiver_addr) == ("::1", "db.example")
    assert Config(listen="10.0.0.1:0").advertise == "10.0.0.1:0"
    assert Config(max_log_count=1).trailing_log_count == 0


@pytest.mark.parametrize("duration", [2, 2.0, timedelta(seconds=2)])
def test_a_duration_is_seconds(duration: Any) -> None:
    """Whatever it is counted in."""
    assert Config(election_timeout=duration).election_timeout_ms == 2000


def test_times_are_rounded_to_the_millisecond() -> None:
    """So that all rooms see the same number."""
    config = Config(election_timeout=0.33333, heartbeat_interval=timedelta(microseconds=20_600))
    assert (config.election_timeout, config.election_timeout_ms, config.heartbeat_interval) == (0.333, 333, 0.021)


def test_the_protocol_gets_milliseconds() -> None:
    """And bounds that hold two of the largest commands."""
    settings = Config(election_timeout=3, heartbeat_interval=0.25, request_timeout=1.5).raft_settings()
    assert (settings.election_timeout_ms, settings.heartbeat_ms, settings.request_timeout_ms) == (3000, 250, 1500)
    assert settings.catch_up_ms == 30_000
    large = Config(max_command_size=64 << 20)
    assert large.raft_settings().uncommitted_bytes == 128 << 20
    assert large.frame_bytes > 64 << 20
    assert Config().frame_bytes == 8 << 20


@pytest.mark.parametrize("value", [-1, 0, math.nan, math.inf, -math.inf, 61, 500, 10**400, True, "500ms", [1]])
@pytest.mark.parametrize("key", ["election_timeout", "heartbeat_interval", "request_timeout"])
def test_a_duration_that_is_none_is_refused(key: str, value: Any) -> None:
    """Negative, nothing, not a number, more than a minute: meant to be milliseconds (BM-125)."""
    (problem,) = problems(**{key: value})
    assert problem.startswith(f"{key}: must be a duration")


@pytest.mark.parametrize(
    "key",
    [
        "max_log_count",
        "max_log_bytes",
        "trailing_log_count",
        "max_segment_size",
        "max_command_size",
        "snapshot_listener_port",
        "snapshot_transfer_rate",
    ],
)
@pytest.mark.parametrize(
    "value", [-1, math.nan, math.inf, 10**30, pytest.param(10**5000, id="10^5000"), 1.5, True, "10MiB", [], {}]
)
def test_a_number_that_is_none_is_refused(key: str, value: Any) -> None:
    """With its key, and never with another exception (BM-125)."""
    (problem,) = problems(**{key: value})
    assert problem.startswith(f"{key}: must be a whole number")


@pytest.mark.parametrize("key", ["max_log_count", "max_log_bytes", "max_segment_size", "max_command_size"])
def test_nothing_is_no_size(key: str) -> None:
    """A log of no entries would be truncated for ever."""
    assert problems(**{key: 0})[0].startswith(f"{key}:")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("listen", "127.0.0.1"),
        ("listen", "127.0.0.1:65536"),
        ("listen", ":7101"),
        ("listen", "http://host:7101"),
        ("listen", None),
        ("advertise", 7101),
        ("advertise", "0.0.0.0:7101"),
        ("advertise", "[::]:7101"),
        ("advertise", "host:0"),
        ("listen", "0.0.0.0:7101"),
        ("snapshot_listener_addr", "host:80"),
        ("snapshot_receiver_addr", "0.0.0.0"),
        ("cluster", ""),
        ("cluster", " x"),
        ("cluster", "x" * 129),
        ("cluster", None),
        ("election_timeout", None),
        ("log_sync_mode", "none"),
        ("log_sync_mode", ["default"]),
        ("log_dir", ""),
        ("log_dir", "a\0b"),
        ("snapshot_dir", 5),
        ("snapshot_dir", None),
        ("snapshot_backup", 1),
        ("snapshot_transfer_rate", (64 << 10) - 1),
        ("snapshot_transfer_rate", "none"),
        ("cluster_secret", ""),
        ("client_secret", 5),
        ("log", 5),
        ("log", {"console": 5}),
        ("log", {"other": {}}),
        ("log", {"console": {"other": 5}}),
        ("log", {"console": {"level": "loud"}}),
        ("log", {"crash": {"enabled": "yes"}}),
    ],
)
def test_what_cannot_be_used_is_refused(key: str, value: Any) -> None:
    """Each with its key, though a dependent one may be named where that is what to set."""
    (problem,) = problems(**{key: value})
    named = "advertise" if (key, value) == ("listen", "0.0.0.0:7101") else key
    assert problem.startswith(named)


def test_settings_must_agree_with_each_other() -> None:
    """Each disagreement is a problem of its own."""
    found = problems(
        election_timeout=0.1,
        heartbeat_interval=0.2,
        request_timeout=0.15,
        max_log_count=10,
        trailing_log_count=6,
        cluster_secret=SECRET,
        client_secret=SECRET,
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "heartbeat_interval",
        "request_timeout",
        "trailing_log_count",
        "client_secret",
    ]
    assert not any(SECRET in problem for problem in found)


def test_every_problem_is_listed_at_once() -> None:
    """Also inside tables, and nothing is reported that follows from another problem."""
    found = problems(listen="x", election_timeout=0, cluster_secret=7, log={"error": {"keep": -1, "size": 0}})
    assert [problem.partition(":")[0] for problem in found] == [
        "listen",
        "election_timeout",
        "cluster_secret",
        "log.error.size",
        "log.error.keep",
    ]


def test_secrets_are_nowhere_to_be_read() -> None:
    """Not in a repr, not in an error."""
    config = Config(cluster_secret=SECRET, client_secret=SECRET + "2")
    assert config.cluster_secret == SECRET
    assert SECRET not in repr(config) + str(config)
    assert SECRET not in str(problems(cluster_secret=[SECRET], client_secret=SECRET * 200))
    with pytest.raises(ConfigError) as error:
        Config.load(None, environment={"ZRAFT_CLUSTER_SECRET": SECRET * 200})
    assert SECRET not in str(error.value)


def test_a_config_does_not_change() -> None:
    """It is shared by many; equal ones are equal."""
    config = Config(log_dir=Path("a"), log={"console": {"level": "debug"}})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.listen = "x"  # type: ignore[misc]  # the mistake
    assert config == Config(log_dir="a", log=LogConfig(console=ConsoleLog(level="debug")))
    assert hash(config) == hash(Config(log_dir="a", log=LogConfig(console=ConsoleLog(level="debug"))))
    assert dataclasses.replace(config, cluster="other").cluster == "other"


@pytest.mark.parametrize("rotation", ["", "$D0", "$D23", "$W0", "$W6D4", "$M1D0", "$M31", "$H0", "$H59", "$M05D06"])
def test_a_rotation_is_hourly_daily_weekly_or_monthly(rotation: str) -> None:
    """Or there is none."""
    assert ErrorLog(rotation=rotation).rotation == rotation


@pytest.mark.parametrize("rotation", ["D0", "$D24", "$W7", "$M0", "$M32", "$H60", "$H", "$D0 ", None, 0])
def test_another_rotation_is_refused(rotation: Any) -> None:
    """With the table's key."""
    with pytest.raises(ConfigError, match=r"^log\.crash\.rotation: must be"):
        CrashLog(rotation=rotation)


@pytest.mark.parametrize(
    ("rotation", "moments"),
    [
        ("$H30", ["2024-02-28T13:30", "2024-02-28T14:30"]),
        ("$D0", ["2024-02-29T00:00", "2024-03-01T00:00"]),
        ("$D13", ["2024-02-28T13:00", "2024-02-29T13:00"]),
        ("$W0D23", ["2024-03-03T23:00", "2024-03-10T23:00"]),
        ("$W6", ["2024-03-02T00:00", "2024-03-09T00:00"]),
        ("$M1D0", ["2024-03-01T00:00", "2024-04-01T00:00"]),
        ("$M31D4", ["2024-02-29T04:00", "2024-03-31T04:00"]),
    ],
)
def test_a_rotation_is_a_moment_that_comes_again(rotation: str, moments: list[str]) -> None:
    """Always a later one, by the local clock; a month without a 31st has a last day."""
    parsed = parse_rotation(rotation)
    assert parsed is not None
    found, now = [], datetime(2024, 2, 28, 12, 45).timestamp()  # noqa: DTZ001 - the local clock is meant
    for _ in moments:
        now = parsed.after(now)
        found.append(datetime.fromtimestamp(now).isoformat(timespec="minutes"))  # noqa: DTZ006
    assert found == moments


@given(
    st.from_regex(r"\A\$(H[0-5]?[0-9]|(W[0-6]|M([1-9]|[12][0-9]|3[01]))?D(1?[0-9]|2[0-3]))\Z").filter(
        lambda text: "D" in text or "H" in text
    ),
    st.integers(0, 2**32),
)
def test_the_next_rotation_is_later_and_near(rotation: str, now: int) -> None:
    """Wherever one is, also where a clock is put forward or back: within a month and two days."""
    parsed = parse_rotation(rotation)
    assert parsed is not None
    assert now < parsed.after(now) <= now + 33 * 86_400


def test_each_log_file_is_another_one() -> None:
    """However its path is written."""
    (problem,) = problems(log={"error": {"file": "./log/./console.log"}})
    assert problem.startswith("log.error.file: must be another file than log.console.file")


@pytest.mark.parametrize(
    ("text", "size"),
    [("1TiB", 1 << 40), ("0.5 TB", 500 * 10**9), ("3kB", None), ("1.5KiB", 1536), ("10 MiB", 10 << 20)],
)
def test_a_size_has_a_unit(tmp_path: Path, text: str, size: int | None) -> None:
    """Of 1024 or of 1000; another is refused in words that can be read."""
    if size is None:
        with pytest.raises(ConfigError, match=r'^max_log_bytes: must be a number of bytes, or "10MiB" and the like'):
            load(tmp_path, f'max_log_bytes = "{text}"')
    else:
        assert load(tmp_path, f'max_log_bytes = "{text}"').max_log_bytes == size


def test_a_segment_is_no_larger_than_the_journal_takes() -> None:
    """It is refused with its key, not when the node starts."""
    assert Config(max_segment_size=1 << 30).max_segment_size == 1 << 30
    assert problems(max_segment_size=(1 << 30) + 1)[0].startswith("max_segment_size: ")


def test_the_leader_counts_what_it_has_not_saved_only_where_it_was_told_to() -> None:
    """`leader_dirty`, and no other mode."""
    modes: list[SyncMode] = ["default", "leader_dirty", "dirty"]
    assert [Config(log_sync_mode=mode).raft_settings().counts_unsaved for mode in modes] == [False, True, False]


FILE = """
listen = "10.0.0.1:7101"
cluster = "prod"
election_timeout = "1.5s"
heartbeat_interval = 150
request_timeout = "1m"
max_log_bytes = "1.5MiB"
max_command_size = 4096
snapshot_backup = true
[log.console]
output = "both"
[log.error]
size = "1MiB"
"""


def test_a_file_gives_units_or_milliseconds(tmp_path: Path) -> None:
    """What it leaves out has its default."""
    config = load(tmp_path, FILE)
    assert (config.listen, config.advertise, config.cluster) == ("10.0.0.1:7101", "10.0.0.1:7101", "prod")
    assert (config.election_timeout, config.heartbeat_interval, config.request_timeout) == (1.5, 0.15, 60.0)
    assert (config.max_log_bytes, config.max_command_size) == (1_572_864, 4096)
    assert config.snapshot_backup
    assert config.log is not None
    assert (config.log.console.output, config.log.error.size, config.log.crash.enabled) == ("both", 1 << 20, True)


def test_a_rate_is_a_size_or_none(tmp_path: Path) -> None:
    """In a file and in a variable, which can take back what the file says."""
    assert load(tmp_path, 'snapshot_transfer_rate = "1.5MiB"').snapshot_transfer_rate == 1_572_864
    assert load(tmp_path, "snapshot_transfer_rate = 65536").snapshot_transfer_rate == 65_536
    assert load(tmp_path, 'snapshot_transfer_rate = "none"').snapshot_transfer_rate is None
    told = [
        load(tmp_path, 'snapshot_transfer_rate = "1MiB"', {"ZRAFT_SNAPSHOT_TRANSFER_RATE": text}).snapshot_transfer_rate
        for text in ("64KiB", "70000", "none")
    ]
    assert told == [65_536, 70_000, None]
    assert Config(snapshot_transfer_rate=1 << 20).snapshot_transfer_rate == 1 << 20


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    """As is none."""
    assert load(tmp_path, "") == Config.load(None, environment={}) == Config()


def test_the_environment_overrides_the_file_and_never_an_argument(tmp_path: Path) -> None:
    """In the file's units; other variables are nobody's business."""
    environment = {
        "ZRAFT_CLUSTER": "env",
        "ZRAFT_LISTEN": "10.0.0.2:7102",
        "ZRAFT_ELECTION_TIMEOUT": "900",
        "ZRAFT_HEARTBEAT_INTERVAL": "90ms",
        "ZRAFT_MAX_COMMAND_SIZE": "2MiB",
        "ZRAFT_TRAILING_LOG_COUNT": "77",
        "ZRAFT_SNAPSHOT_BACKUP": "False",
        "ZRAFT_LOG_DIR": "somewhere",
        "ZRAFT_LOG_CONSOLE_LEVEL": "debug",
        "ZRAFT_LOG_CRASH_ENABLED": "off",
        "ZRAFT_LOG_ERROR_SIZE": "2MiB",
        "ZRAFT_PEERS": "not a setting",
        "OTHER": "x",
    }
    config = load(tmp_path, FILE, environment, listen="10.0.0.3:7103", log_dir="here")
    assert (config.listen, config.cluster, config.log_dir) == ("10.0.0.3:7103", "env", "here")
    assert (config.election_timeout, config.heartbeat_interval, config.request_timeout) == (0.9, 0.09, 60.0)
    assert (config.max_command_size, config.trailing_log_count, config.snapshot_backup) == (2 << 20, 77, False)
    assert config.log is not None
    assert (config.log.console.output, config.log.console.level) == ("both", "debug")
    assert (config.log.crash.enabled, config.log.error.size) == (False, 2 << 20)


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """By load alone: a Config that Python code makes is what the code says."""
    monkeypatch.setenv("ZRAFT_CLUSTER", "env")
    assert Config.load(None).cluster == "env"
    assert Config().cluster == "default"


@pytest.mark.parametrize(
    "line",
    [
        "election_timeout = 0.5",
        "election_timeout = nan",
        "election_timeout = true",
        'election_timeout = "500"',
        'election_timeout = "5 days"',
        'election_timeout = "-5ms"',
        'election_timeout = "61s"',
        "election_timeout = 61000",
        "election_timeout = 0",
        "election_timeout = 1" + "0" * 400,
        "election_timeout = 2024-01-01",
        'max_log_bytes = "10 parsecs"',
        'max_log_bytes = "0.3B"',
        "max_log_bytes = 1.0",
        'max_log_bytes = "9999999999GiB"',
        'max_log_bytes = "' + "9" * 5000 + 'B"',
        'max_log_count = "1000"',
        "snapshot_backup = 1",
        "snapshot_transfer_rate = 0",
        'snapshot_transfer_rate = "63KiB"',
        'snapshot_transfer_rate = "fast"',
        "unknown = 1",
        "log = 1",
        "log.console = 1",
        "log.other = { level = 1 }",
        "log.console.other = 1",
        'log.console.size = "x"',
        'log.console.level = "x"',
    ],
)
def test_what_a_file_may_not_say_is_refused(tmp_path: Path, line: str) -> None:
    """One problem each, with the key (BM-125)."""
    with pytest.raises(ConfigError) as error:
        load(tmp_path, line)
    (problem,) = error.value.problems
    assert problem.startswith(line.partition(" ")[0])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ELECTION_TIMEOUT", "0.5"),
        ("ELECTION_TIMEOUT", "-500"),
        ("ELECTION_TIMEOUT", ""),
        ("MAX_LOG_COUNT", "many"),
        ("MAX_LOG_COUNT", "9" * 5000),
        ("SNAPSHOT_BACKUP", "perhaps"),
        ("LISTEN", ""),
        ("LOG_CONSOLE_KEEP", "-1"),
    ],
)
def test_what_the_environment_may_not_say_is_refused(name: str, text: str) -> None:
    """An empty variable is a value, too."""
    with pytest.raises(ConfigError) as error:
        Config.load(None, environment={f"ZRAFT_{name}": text})
    assert len(error.value.problems) == 1


def test_the_problems_of_all_sources_are_listed_together(tmp_path: Path) -> None:
    """File, environment, arguments; a broken key causes no further complaints."""
    with pytest.raises(ConfigError) as error:
        load(
            tmp_path,
            'election_timeout = 0.5\nheartbeat_interval = "900ms"\nnonsense = 1',
            {"ZRAFT_MAX_LOG_COUNT": "0"},
            cluster="",
            other=1,
        )
    assert sorted(problem.partition(":")[0] for problem in error.value.problems) == [
        "cluster",
        "election_timeout",
        "max_log_count",
        "nonsense",
        "other",
    ]


def test_a_file_that_cannot_be_read_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """Missing, not TOML, not text."""
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.load(tmp_path / "missing.toml", environment={})
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path, "= =")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not TOML"):
        Config.load(tmp_path / "bytes.toml", environment={})


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(string.printable, max_size=8)
    | st.binary(max_size=4)
    | st.timedeltas()
    | st.sampled_from([0, -1, 10**18, math.nan, math.inf, "0.0.0.0:1", "500ms", "10MiB", "$D0", "default"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["console", "error", "x"]), inner),
    max_leaves=4,
)
KEYS = [field.name for field in dataclasses.fields(Config)]


def made(make: Callable[..., Config], *arguments: Any, **settings: Any) -> Config | None:
    """A config, or None where it was refused with a reason."""
    try:
        return make(*arguments, **settings)
    except ConfigError as error:
        return None if error.problems else pytest.fail("refused without a reason")


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=6))
def test_whatever_is_given_is_used_or_refused(settings: dict[str, Any]) -> None:
    """A Config that exists keeps its promises, and nothing but ConfigError keeps it from existing (BM-125)."""
    config = made(Config, **settings)
    if config is None:
        return
    assert 0.001 <= config.heartbeat_interval < config.election_timeout <= 60
    assert 0 <= config.trailing_log_count <= config.max_log_count / 2
    assert config == dataclasses.replace(config)
    assert config.raft_settings().heartbeat_ms >= 1


@given(st.dictionaries(st.sampled_from([f"ZRAFT_{key.upper()}" for key in KEYS]), st.text(max_size=10), max_size=6))
def test_whatever_the_environment_says_is_used_or_refused(environment: dict[str, str]) -> None:
    """The same for texts."""
    config = made(Config.load, None, environment=environment)
    assert config is None or config.election_timeout_ms >= 10


def test_snapshots_stand_beside_the_log_unless_told_otherwise() -> None:
    """Nodes that differ in `log_dir` alone would otherwise remove each other's snapshots."""
    assert Config(log_dir="a").snapshot_dir == "a"
    assert Config(log_dir="a", snapshot_dir="./data").snapshot_dir == "./data"
    assert problems(log_dir="") == ["log_dir: must be a path, not empty, not ''"]
