"""The page on settings describes the settings that there are: every key, its default, its variable."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from zraft.config import Config, LogConfig
from zraft.config.keys import KEYS, SECTION_KEYS

PAGE = (Path(__file__).parents[2] / "docs/operate/config.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z_.]+)` \| ([^|]*) \| ([^|]*) \|([^|]*)\|$", re.MULTILINE)
ROWS = {name: (default, unit, why) for name, default, unit, why in ROW.findall(PAGE)}
TABLES = {f"log.{section}.{name}" for section, keys in SECTION_KEYS.items() for name in keys}
DEPENDENT = {
    "advertise": "as `listen`",
    "heartbeat_interval": "`election_timeout` / 5",
    "request_timeout": "2 × `election_timeout`",
    "trailing_log_count": "at most 10000, at most `max_log_count` / 2",
    "snapshot_listener_addr": "the host of `listen`",
    "snapshot_receiver_addr": "the host of `advertise`",
    "cluster_secret": "none",
    "client_secret": "none",
}
"""Defaults that are no value of their own."""
EXAMPLE = tomllib.loads(re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[-1])


def value_of(config: Config, name: str) -> Any:
    """The setting, also of a table."""
    _, *inner = name.split(".")
    if not inner:
        return getattr(config, name)
    assert config.log is not None
    return getattr(getattr(config.log, inner[0]), inner[1])


def loaded(tmp_path: Path, line: str) -> Config:
    """The settings of a file with this line."""
    (tmp_path / "zraft.toml").write_text(line, encoding="utf-8")
    return Config.load(tmp_path / "zraft.toml", environment={})


def test_the_page_has_a_row_for_every_key_and_no_other() -> None:
    """In the tables and in the file with everything."""
    assert set(ROWS) == {*KEYS, *TABLES}
    example = {name for name in EXAMPLE if name != "log"}
    example |= {f"log.{section}.{name}" for section, table in EXAMPLE["log"].items() for name in table}
    assert example == set(ROWS)


@pytest.mark.parametrize("name", sorted(set(ROWS) - set(DEPENDENT)))
def test_the_page_tells_each_default(tmp_path: Path, name: str) -> None:
    """As it would be written in a file."""
    default = ROWS[name][0]
    assert default.startswith("`"), default
    told = value_of(loaded(tmp_path, f"{name} = {default.strip('`')}"), name)
    assert told == value_of(Config(log=LogConfig()), name)


@pytest.mark.parametrize("name", sorted(DEPENDENT))
def test_the_page_tells_each_default_that_depends(name: str) -> None:
    """On another setting."""
    assert ROWS[name][0] == DEPENDENT[name]


def test_every_key_says_what_it_is_for() -> None:
    """But those of a log file that the first of the three has explained."""
    for name, (_, unit, why) in ROWS.items():
        assert unit
        assert why.strip() or name.rpartition(".")[2] in ("size", "rotation", "keep"), name


def test_the_file_with_everything_has_the_defaults(tmp_path: Path) -> None:
    """All but the secrets, which have none."""
    text = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[-1]
    config, default = loaded(tmp_path, text), Config(log=LogConfig())
    for name in set(ROWS) - {"cluster_secret", "client_secret"}:
        assert value_of(config, name) == value_of(default, name), name


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_key_has_its_variable(name: str) -> None:
    """`ZRAFT_` and the key, as the page says: what a file could say, it can."""
    section, *inner = name.split(".")
    written = EXAMPLE[section] if not inner else EXAMPLE["log"][inner[0]][inner[1]]
    text = str(written).lower() if isinstance(written, bool) else str(written)
    variable = f"ZRAFT_{name.replace('.', '_').upper()}"
    config = Config.load(None, environment={variable: text})
    default = Config(log=LogConfig())
    assert value_of(config, name) == (written if name.endswith("_secret") else value_of(default, name))
    assert (config.log is not None) == bool(inner)
