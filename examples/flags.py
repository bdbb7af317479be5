"""Feature flags inside a web application: each of three workers has a node of the group, and all flags in memory.

    python examples/flags.py 0          in a terminal, and 1 and 2 in two others; nothing else has to run
    curl -X PUT -d true localhost:8000/flags/dark-mode
    curl localhost:8001/flags/dark-mode

A flag is read without asking anybody, and set durably on a majority of the workers. Any one of them may be lost: the
others go on reading and setting. A worker alone goes on reading; "current" is false then.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import zraft
from zraft import table
from zraft.recipes import Cache

PREFIX = "flag/"
NODES = ["127.0.0.1:7301", "127.0.0.1:7302", "127.0.0.1:7303"]
FIRST_PORT = 8000


class Worker:
    """One worker of the application: a node, a session, a cache, and a small web server."""

    def __init__(self, nodes: list[str], number: int, port: int, folder: Path, **settings: Any) -> None:
        self._config = zraft.Config(listen=nodes[number], log_dir=folder, snapshot_dir=folder, **settings)
        self._peers = [f"flags@{node}" for node in nodes]
        self._port = port
        self._session: zraft.Session | None = None
        self._flags: Cache | None = None

    async def run(self, session_timeout_s: float = 5.0) -> None:
        """Until it is cancelled. The web server answers from the first moment on."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        async with server, zraft.Node(self._config), zraft.Client() as client:
            peers = await client.ensure(self._peers, "table", timeout=None)
            while True:
                try:
                    await self._follow(client, peers, session_timeout_s)
                except (zraft.SessionExpired, zraft.ConnectionTimeout) as error:
                    print(f"{self._config.listen}: {error}", flush=True)  # the flags stay as they were

    async def _follow(self, client: zraft.Client, peers: list[zraft.PeerId], session_timeout_s: float) -> None:
        session = client.start_session(peers, session_timeout_s)
        async with session, Cache(session, PREFIX) as flags:
            self._session, self._flags = session, flags
            await session.wait_state("expired")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of HTTP/1.0, as small as it gets."""
        try:
            method, path, _ = (await reader.readline()).decode().split()
            length = 0
            while (line := await reader.readline()).strip():
                name, _, value = line.decode().partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            status, answer = await self._answer(method, path, await reader.readexactly(length))
            body = json.dumps(answer).encode() + b"\n"
            head = f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        except (ConnectionError, ValueError, asyncio.IncompleteReadError):
            pass  # no request of HTTP, or gone
        finally:
            writer.close()

    async def _answer(self, method: str, path: str, body: bytes) -> tuple[str, Any]:
        name = path.removeprefix("/flags/")
        if self._session is None or self._flags is None:
            return "503 Service Unavailable", {"error": "the group is not there yet"}
        if not path.startswith("/flags/") or not name:
            return "404 Not Found", {"error": "the flags are below /flags/"}
        if method == "GET":
            return "200 OK", {"on": self._flags.get(PREFIX + name, False), "current": self._flags.is_current}
        if method != "PUT" or body.strip() not in (b"true", b"false"):
            return "400 Bad Request", {"error": "PUT true or false"}
        try:
            await self._session.write(table.Put(PREFIX + name, body.strip() == b"true"))
            await self._flags.refresh()  # who sets a flag sees it here at once
        except zraft.RequestError as error:
            return "503 Service Unavailable", {"error": str(error), "executed": error.executed}
        return "200 OK", {"on": self._flags.get(PREFIX + name, False), "current": True}


if __name__ == "__main__":
    me = int(sys.argv[1])
    try:
        asyncio.run(Worker(NODES, me, FIRST_PORT + me, Path(f"data/flags{me}")).run())
    except KeyboardInterrupt:
        pass
