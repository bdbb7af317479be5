"""Each setting: its name, how it is written in a file and in the environment, and which values it takes.

Durations are seconds in Python; a file writes "500ms", and a bare integer there is milliseconds. Sizes are bytes; a
file may write "10MiB". An environment variable is written like the value in the file, without quotes.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from zraft import limits
from zraft.config.rotation import ROTATIONS, parse_rotation

_LONGEST: Final = 60.0  # a larger number was meant to be milliseconds
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253}):([0-9]{1,5})")
_HOST: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}|[A-Za-z0-9_.-]{1,253}")
_CLUSTER: Final = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_BYTES: Final = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_TRUTH: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


@dataclass(frozen=True)
class Key:
    """How one setting is read and checked. All three raise ValueError whose text says what is expected."""

    check: Callable[[Any], Any]
    """The value as Python code gives it, in the form that the rest of the system uses."""
    from_file: Callable[[Any], Any] = lambda value: value
    """What Python code would have given for a value of a TOML file."""
    from_text: Callable[[str], Any] = lambda text: text
    """What a TOML file would have given for an environment variable."""
    secret: bool = False


def _duration(shortest: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError("a duration in seconds: an int, a float or a timedelta")
        if not shortest <= seconds <= _LONGEST:
            raise ValueError(f"a duration of {shortest} to {_LONGEST:.0f} seconds")
        return round(seconds * 1000) / 1000

    return check


def _duration_from_file(value: Any) -> Any:
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value)) and match[2] in _SECONDS:
        return float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, int) and not isinstance(value, bool):
        return value / 1000 if abs(value) < 1 << 53 else math.inf
    raise ValueError('a duration with its unit ("500ms", "1.5s"), or whole milliseconds')


def _whole(smallest: int, largest: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
            raise ValueError(f"a whole number from {smallest} to {largest}")
        return value

    return check


def _size_from_file(value: Any) -> Any:
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value)) and match[2] in _BYTES and len(value) < 40:
        size = float(match[1]) * _BYTES[match[2]]
        return int(size) if size.is_integer() else size
    if isinstance(value, str):
        raise ValueError(f'a number of bytes, or "10MiB" and the like ({", ".join(_BYTES)})')
    return value


def _rate_from_file(value: Any) -> Any:
    """A TOML file has no None, and a variable that is given overrides the file."""
    return None if value == "none" else _size_from_file(value)


def _number_from_text(text: str) -> Any:
    return int(text) if re.fullmatch(r"-?[0-9]{1,40}", text) else text


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(expected)
        return value

    return check


def _rotation(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(ROTATIONS)
    parse_rotation(value)
    return value


def _address(value: Any) -> str:
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > 65535:
        raise ValueError("an address, host:port")
    return match[0]


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return value

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _flag_from_text(text: str) -> Any:
    return _TRUTH.get(text.lower(), text)


def _path(value: Any) -> str:
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError("a path, not empty")
    return text


def _secret(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= 1024):
        raise ValueError("a text of 1 to 1024 characters")
    return value


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _size(smallest: int, largest: int) -> Key:
    return Key(_whole(smallest, largest), _size_from_file, _number_from_text)


def _time(check: Callable[[Any], Any]) -> Key:
    return Key(check, _duration_from_file, _number_from_text)


def _count(smallest: int, largest: int) -> Key:
    return Key(_whole(smallest, largest), from_text=_number_from_text)


_ADDRESS_KEY: Final = Key(_optional(_address))
_HOST_KEY: Final = Key(_optional(_matching(_HOST, "a host name or an IP address, without a port and brackets")))
_FLAG: Final = Key(_flag, from_text=_flag_from_text)
_PATH: Final = Key(_path)
_SECRET: Final = Key(_secret, secret=True)

KEYS: Final[Mapping[str, Key]] = {
    "listen": Key(_address),
    "advertise": _ADDRESS_KEY,
    "cluster": Key(_matching(_CLUSTER, "1 to 128 printable ASCII characters, no space at either end")),
    "election_timeout": _time(_duration(0.01)),
    "heartbeat_interval": _time(_optional(_duration(0.001))),
    "request_timeout": _time(_optional(_duration(0.001))),
    "max_log_count": _count(1, 10**9),
    "max_log_bytes": _size(1, 1 << 40),
    "trailing_log_count": Key(_optional(_whole(0, 10**9)), from_text=_number_from_text),
    "max_segment_size": _size(limits.MIN_SEGMENT_BYTES, limits.MAX_SEGMENT_BYTES),
    "max_command_size": _size(1, limits.MAX_COMMAND_BYTES_CEILING),
    "log_dir": _PATH,
    "snapshot_dir": _PATH,
    "snapshot_backup": _FLAG,
    "snapshot_listener_addr": _HOST_KEY,
    "snapshot_listener_port": _count(0, 65535),
    "snapshot_receiver_addr": _HOST_KEY,
    "snapshot_transfer_rate": Key(_optional(_whole(limits.BULK_RATE_MIN, 1 << 40)), _rate_from_file, _number_from_text),
    "divergence_alarm": _FLAG,
    "log_sync_mode": Key(_one_of("default", "leader_dirty", "dirty")),
    "cluster_secret": _SECRET,
    "client_secret": _SECRET,
}
_FILE_KEYS: Final[Mapping[str, Key]] = {
    "file": _PATH,
    "size": _size(1, 1 << 40),
    "rotation": Key(_rotation),
    "keep": _count(0, 10_000),
}
_LEVEL: Final = Key(_one_of("debug", "info", "warning", "error", "critical"))
SECTION_KEYS: Final[Mapping[str, Mapping[str, Key]]] = {
    "console": {"output": Key(_one_of("off", "file", "console", "both")), "level": _LEVEL, **_FILE_KEYS},
    "error": {"messages_per_second": _count(1, 10**6), **_FILE_KEYS},
    "crash": {"enabled": _FLAG, "maximum_message_size": _size(256, 1 << 30), **_FILE_KEYS},
}


def checked(keys: Mapping[str, Key], given: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The values that are right, and for each other key what is wrong with it. `given` has every key."""
    values, problems = {}, {}
    for name, key in keys.items():
        try:
            values[name] = key.check(given[name])
        except ValueError as error:
            problems[name] = problem_with(prefix + name, key, error, given[name])
    return values, problems


def problem_with(name: str, key: Key, error: ValueError, value: Any) -> str:
    """What is wrong with `value`, where `error` says what is expected. A secret is not shown."""
    shown = "" if key.secret else f", not {shortened(value)}"
    return f"{name}: must be {error}{shown}"


def shortened(value: Any) -> str:
    """The value for a reader, at most 80 characters."""
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "so large a number"
    if not isinstance(value, bool | int | float | str | timedelta | None):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def sorted_out(keys: Mapping[str, Any], given: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Any], list[str]]:
    """The settings that exist, and a problem for each other."""
    known = {key: value for key, value in given.items() if key in keys}
    return known, [f"{prefix}{key}: no such setting" for key in given if key not in keys]
