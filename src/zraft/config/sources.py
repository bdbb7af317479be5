"""Where settings are read from: a TOML file, and environment variables that override it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from typing import Any

from zraft.config.keys import KEYS, SECTION_KEYS, Key, problem_with, sorted_out
from zraft.errors import ConfigError


class Sources:
    """What a file and the environment say: settings as Python code would give them, and what is wrong with the rest."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.broken: set[str] = set()
        self.problems: list[str] = []

    def take_file(self, path: str | os.PathLike[str]) -> None:
        """Raises `ConfigError` where the file is not there or not TOML."""
        for name, value in _parsed(path).items():
            if name == "log" and isinstance(value, Mapping):
                for section, table in value.items():
                    self._take_table(section, table)
            elif name in KEYS:
                self._take(KEYS[name], name, name, value, self.settings)
            elif name == "log":
                self.problems.append("log: must be a table")
            else:
                self.problems.append(f"{name}: no such setting")

    def _take_table(self, section: str, table: Any) -> None:
        if section not in SECTION_KEYS or not isinstance(table, Mapping):
            self.problems.append(f"log.{section}: no such table")
            return
        known, unknown = sorted_out(SECTION_KEYS[section], table, f"log.{section}.")
        self.problems += unknown
        for name, value in known.items():
            self._take(SECTION_KEYS[section][name], f"log.{section}.{name}", name, value, self._section(section))

    def take_environment(self, environment: Mapping[str, str]) -> None:
        for name, key in KEYS.items():
            self._take_variable(environment, key, name, name, self.settings)
        for section, keys in SECTION_KEYS.items():
            for name, key in keys.items():
                full = f"log_{section}_{name}"
                if _variable(full) in environment:
                    self._take_variable(environment, key, full, name, self._section(section))

    def _take_variable(
        self, environment: Mapping[str, str], key: Key, full: str, name: str, settings: dict[str, Any]
    ) -> None:
        text = environment.get(_variable(full))
        if text is not None:
            self._take(key, _variable(full), name, key.from_text(text), settings)

    def _take(self, key: Key, shown: str, name: str, value: Any, settings: dict[str, Any]) -> None:
        try:
            settings[name] = key.from_file(value)
        except ValueError as error:
            self.problems.append(problem_with(shown, key, error, value))
            self.broken.add(name)

    def _section(self, section: str) -> dict[str, Any]:
        sections: dict[str, dict[str, Any]] = self.settings.setdefault("log", {})
        return sections.setdefault(section, {})


def _variable(name: str) -> str:
    return f"ZRAFT_{name.upper()}"


def _parsed(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            written: dict[str, Any] = tomllib.load(file)
            return written
    except OSError as error:
        raise ConfigError([f"{os.fspath(path)}: cannot be read: {error.strerror}"]) from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError([f"{os.fspath(path)}: not TOML: {error}"]) from error
