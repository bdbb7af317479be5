"""A service registry: which instances of a service live, by what each says of itself.

    zraft dev --backend table                                          in a terminal; then, with its ZRAFT_PEERS,
    python examples/registry.py serve billing 10.0.0.7:8080            once for each instance
    python examples/registry.py watch billing                          whoever wants to know

An instance that ends by itself is gone at once, and one that is lost after its session timeout. One that was cut off
for longer registers again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import zraft
from zraft.recipes import Party


async def serve(client: zraft.Client, peers: list[str], service: str, address: str, timeout_s: float = 5.0) -> None:
    """The instance is registered until this is cancelled."""
    while True:
        try:
            async with client.start_session(peers, timeout_s) as session:
                await Party(session, service, address).join(timeout=None)
                await session.wait_state("expired")
        except (zraft.SessionExpired, zraft.ConnectionTimeout) as error:
            print(f"{address}: {error}; it registers again", flush=True)


async def watch(session: zraft.Session, service: str) -> AsyncIterator[list[str]]:
    """The addresses of all that live, and again whenever they are others."""
    party = Party(session, service)
    found = await party.members()
    while True:
        yield found
        found = await party.wait_change(found)


async def main() -> None:
    """One instance, or somebody who asks."""
    peers = os.environ["ZRAFT_PEERS"].split(",")
    async with zraft.Client() as client:
        match sys.argv[1:]:
            case ["serve", service, address]:
                await serve(client, peers, service, address)
            case ["watch", service]:
                async with client.start_session(peers, 5.0) as session:
                    async for addresses in watch(session, service):
                        print(service, *addresses, flush=True)
            case _:
                sys.exit(__doc__)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
