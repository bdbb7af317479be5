"""What leaves a node: messages to other nodes, answers to whoever asked, lines to the log."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from zraft.core.messages import AppendEntries, AppendReply, Heartbeat, InstallSnapshot
from zraft.errors import TooLarge
from zraft.node.log_files import CRASH
from zraft.node.neighbours import Neighbours
from zraft.node.timekeeper import now_ms
from zraft.peer.duties import Client, Duties, Note
from zraft.transport.link import Link
from zraft.wire.peering import NO_GROUP, encode_message
from zraft.wire.requests import Reply, encode_item

LOG: Final = logging.getLogger("zraft")

_BULK: Final = (AppendEntries, AppendReply, InstallSnapshot)
"""Messages that votes and heartbeats overtake."""

_REPEATED: Final = (AppendEntries, Heartbeat, InstallSnapshot)
"""Messages that a leader sends anew, and up to date, as soon as the node is connected."""


class Outlet:
    """Carries out a turn's duties but those that are the node's own."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._touched: dict[Link, None] = {}
        """Links that something was put on since they were last flushed."""

    def carry_out(self, duties: Duties, address: str) -> bool:
        """Everything leaves at once: a turn's messages to one node in one write, and its answers to one client.

        True where there was any of that.
        """
        if duties.messages:
            self._send_messages(duties)
        for beat in duties.node_beats:
            link = self._neighbours.dial(beat.to, now_ms()).link
            if link is not None:
                link.queue(encode_message(NO_GROUP, beat), urgent=True)
                self._touched[link] = None
        for client, reply in duties.replies:
            self.reply(client, reply)
        has_sent = bool(self._touched)
        self.flush()
        for note in duties.notes:
            self._log(note, address)
        for change in duties.changes:
            role, leader = change.change.role.value, change.change.leader
            leads = leader.peer if leader is not None else "unknown"
            LOG.info("peer %s: %s in term %d, leader %s", change.peer, role, change.change.term, leads)
        return has_sent

    def flush(self) -> None:
        """What was put on links since the last time leaves."""
        touched, self._touched = self._touched, {}
        for link in touched:
            link.flush()

    def _log(self, note: Note, address: str) -> None:
        level = logging.WARNING if note.is_alarm else logging.INFO
        if note.error is not None:
            level = logging.ERROR
        LOG.log(level, "%s: %s", note.peer or address, note.text, extra={CRASH: note.error})

    def _send_messages(self, duties: Duties) -> None:
        now = now_ms()
        for group, message in duties.messages:
            node = message.to.peer.node
            dialer, kind = self._neighbours.dial(node, now), type(message)
            link = dialer.link
            try:
                if link is not None:
                    link.queue(encode_message(group, message), urgent=kind not in _BULK)
                    self._touched[link] = None
                elif kind not in _REPEATED:
                    dialer.send(encode_message(group, message), urgent=kind not in _BULK, may_wait=True)
            except TooLarge as error:
                LOG.error("%s to %s: %s; is max_command_size smaller than it was?", kind.__name__, node, error)

    def reply(self, client: Client, reply: Reply) -> None:
        """To a connection, or to the node itself, which waits with a future. Who cannot be answered is cut off.

        It leaves with the next `flush`.
        """
        if isinstance(client, asyncio.Future):
            if not client.done():
                client.set_result(reply)
            return
        try:
            is_sent = client.queue(encode_item(reply))
        except (TooLarge, msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
            LOG.error("an answer to %s cannot be sent", client.remote, exc_info=error)
            client.abort("an answer cannot be sent")
            return
        if is_sent:
            self._touched[client] = None
        elif client.is_open:
            client.abort("its replies are not read")
