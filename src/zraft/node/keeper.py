"""What a node has for snapshots: the vault with its folder, and the receiver and the senders that other nodes meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from zraft.config import Config
from zraft.node.transfers import NodeTransfers
from zraft.node.vault import RealVault
from zraft.peer.growth import SnapshotSettings
from zraft.peer.vault import VaultDone
from zraft.storage.manifest import Manifest
from zraft.transport.bulk import Receiver


class Keeper:
    """Open from its making to `aclose`. Made in the event loop that it is used from."""

    def __init__(
        self,
        config: Config,
        report: Callable[[VaultDone], None],
        speak: Callable[[str, bytes], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Opens `snapshot_dir`, and listens for transfers. The data folder is open and locked.

        `report` is called from threads; `speak` sends the payload of a SNAPSHOTS frame to a node; `failed` hears of
        what nobody expected. Raises StorageError, AddressInUse, ConfigError.
        """
        self.transfers = transfers = NodeTransfers(
            Receiver(config.snapshot_listener_addr, config.snapshot_listener_port, config.snapshot_receiver_addr),
            asyncio.get_running_loop(),
            speak,
            self._path_of,
            failed,
            rate=config.snapshot_transfer_rate,
        )
        try:
            self.vault = RealVault(
                Path(config.snapshot_dir), report, data_folder=Path(config.log_dir), transfers=transfers
            )
        except BaseException:
            transfers.close()
            raise

    def _path_of(self, manifest: Manifest) -> Path:
        return self.vault.path_of(manifest)

    async def aclose(self) -> None:
        """Nothing is sent, fetched, written or read any more, and the folder is anybody's."""
        await self.transfers.aclose()
        await asyncio.to_thread(self.vault.close)


def snapshot_settings(config: Config) -> SnapshotSettings:
    """When snapshots are taken."""
    return SnapshotSettings(
        max_log_count=config.max_log_count,
        max_log_bytes=config.max_log_bytes,
        trailing_log_count=config.trailing_log_count,
        backup=config.snapshot_backup,
    )
