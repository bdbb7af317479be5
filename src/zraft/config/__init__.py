"""Settings: `Config` for a node, `LogConfig` for where it logs. Read from Python, a TOML file and the environment."""

from __future__ import annotations

from zraft.config.logs import ConsoleLog, CrashLog, ErrorLog, LogConfig
from zraft.config.settings import Config

__all__ = ["Config", "ConsoleLog", "CrashLog", "ErrorLog", "LogConfig"]
