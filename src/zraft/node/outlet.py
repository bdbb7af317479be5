"""What leaves a node: messages to other nodes, answers to whoever asked, lines to the log."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from zraft.core.messages import AppendEntries, AppendReply, InstallSnapshot
from zraft.errors import TooLarge
from zraft.node.neighbours import Neighbours
from zraft.node.timekeeper import now_ms
from zraft.peer.duties import Client, Duties
from zraft.transport.link import Link
from zraft.wire.peering import NO_GROUP, encode_message
from zraft.wire.requests import Reply, encode_item

LOG: Final = logging.getLogger("zraft")

_BULK: Final = (AppendEntries, AppendReply, InstallSnapshot)
"""Messages that votes and heartbeats overtake."""


class Outlet:
    """Carries out a turn's duties but those that are the node's own."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._touched: dict[Link, None] = {}
        """Links that something was put on since they were last flushed."""

    def carry_out(self, duties: Duties, address: str) -> None:
        """Everything leaves at once: a turn's messages to one node in one write, and its answers to one client."""
        if duties.messages:
            self._send_messages(duties)
        for beat in duties.node_beats:
            self._send(beat.to, encode_message(NO_GROUP, beat))
        for client, reply in duties.replies:
            self.reply(client, reply)
        touched, self._touched = self._touched, {}
        for link in touched:
            link.flush()
        for note in duties.notes:
            LOG.log(logging.WARNING if note.is_alarm else logging.INFO, "%s: %s", note.peer or address, note.text)
        for change in duties.changes:
            role, leader = change.change.role.value, change.change.leader
            leads = leader.peer if leader is not None else "unknown"
            LOG.info("peer %s: %s in term %d, leader %s", change.peer, role, change.change.term, leads)

    def _send_messages(self, duties: Duties) -> None:
        now = now_ms()
        for group, message in duties.messages:
            node = message.to.peer.node
            dialer = self._neighbours.dial(node, now)
            try:
                dialer.send(encode_message(group, message), urgent=type(message) not in _BULK)
            except TooLarge as error:
                LOG.error("%s to %s: %s; is max_command_size smaller than it was?", type(message).__name__, node, error)
            if dialer.link is not None:
                self._touched[dialer.link] = None

    def _send(self, node: str, item: bytes) -> None:
        dialer = self._neighbours.dial(node, now_ms())
        dialer.send(item, urgent=True)
        if dialer.link is not None:
            self._touched[dialer.link] = None

    def reply(self, client: Client, reply: Reply) -> None:
        """To a connection, or to the node itself, which waits with a future. Who cannot be answered is cut off."""
        if isinstance(client, asyncio.Future):
            if not client.done():
                client.set_result(reply)
            return
        try:
            is_sent = client.send(encode_item(reply))
        except (TooLarge, msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
            LOG.error("an answer to %s cannot be sent", client.remote, exc_info=error)
            client.abort("an answer cannot be sent")
            return
        if is_sent:
            self._touched[client] = None
        elif client.is_open:
            client.abort("its replies are not read")
