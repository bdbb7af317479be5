"""Addresses as text: "host:port", with brackets around an IPv6 host, as in a `PeerId`."""

from __future__ import annotations

from zraft.errors import UsageError


def split_address(address: str) -> tuple[str, int]:
    """Host, without brackets, and port of `address`. Raises `UsageError`."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        raise UsageError(f"not an address: {address!r} (host:port)")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """The text that `split_address` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
