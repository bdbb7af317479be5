"""A golden conversation: a text of commands, each followed by what the replicas then do.

    # What is shown, in a sentence or two.
    > propose a 3
    a < propose #3
      append 3/2
      send a->b AppendEntries term 2 prev (2,2) commit 2 [3/2]

`replay` carries out the commands (`> `) and gives the text back with comments and commands kept and the rest made anew.
A command that begins with `quietly` shows nothing. The commands are the methods of `Commands`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.raftkit.cluster import Cluster
from zraft.core.events import ChangeMembership, NodeRestarted, ProposeTime, Rouse, TransferLeadership
from zraft.core.recovered import RaftSettings
from zraft.core.roles import Leader
from zraft.core.text import batch_text, member_text, message_text


def replay(text: str) -> str:
    """The conversation with the trace that its commands make now."""
    lines: list[str] = []
    commands = Commands()
    for line in text.splitlines():
        if line.startswith("> "):
            lines.append(line)
            lines += commands.carry_out(line[2:])
        elif line.startswith("#") or not line:
            lines.append(line)
    return "\n".join(_without_double_blanks(lines)).strip("\n") + "\n"


def _without_double_blanks(lines: list[str]) -> list[str]:
    return [line for at, line in enumerate(lines) if line or at == 0 or lines[at - 1]]


class Commands:
    """What a conversation may say. Names of replicas are single words; `#` numbers are refs."""

    def __init__(self) -> None:
        self.cluster = Cluster()

    def carry_out(self, line: str) -> list[str]:
        """Do it, and return what happened, indented lines below the event that caused them."""
        words = line.split()
        is_quiet = words[0] == "quietly"
        name, *arguments = words[1:] if is_quiet else words
        command: Callable[..., list[str] | None] = getattr(self, f"do_{name}")
        self.cluster.trace.clear()
        shown = command(*arguments)
        return [] if is_quiet else [*self.cluster.trace, *(shown or ())]

    # Replicas

    def do_settings(self, *pairs: str) -> None:
        """`settings append_bytes=100 window_messages=2`: before any replica is made."""
        numbers: dict[str, Any] = {k: int(v) for k, _, v in (pair.partition("=") for pair in pairs)}
        self.cluster = Cluster(settings=RaftSettings(**numbers))

    def do_nodes(self, *names: str) -> None:
        """Blank replicas."""
        for name in names:
            self.cluster.add(name)

    def do_log(self, name: str, voters: str, *terms: str) -> None:
        """`log a a,b,c 1 1 2 [in 3]`: a replica whose disk holds entries of these terms, itself in term 3."""
        words = list(terms)
        term = int(words.pop()) if "in" in words else 0
        self.cluster.add(name, [int(word) for word in words if word != "in"], _spaced(voters), term=term)

    def do_group(self, *names: str) -> None:
        """A group of all these that the first one leads in term 2, settled at index 2."""
        for name in names:
            self.cluster.add(name)
        self.cluster.bootstrap(names[0], " ".join(names))
        self.cluster.stabilise()
        self.cluster.elect(names[0])
        self.cluster.timeout(names[0])
        self.cluster.stabilise()

    def do_bootstrap(self, name: str, voters: str) -> None:
        self.cluster.bootstrap(name, _spaced(voters))

    def do_crash(self, name: str) -> None:
        self.cluster.crash(name)

    def do_restart(self, name: str) -> None:
        self.cluster.restart(name)

    # Work

    def do_propose(self, name: str, *refs: str) -> None:
        """`propose a 3 4`: proposals #3 and #4, of one command each. `3*5` is one of five commands."""
        refs_only = [int(ref.partition("*")[0]) for ref in refs]
        count = int(refs[0].partition("*")[2] or 1)
        self.cluster.propose(name, *refs_only, count=count)

    def do_tick(self, name: str) -> None:
        """The machine has something due."""
        self.cluster.step(name, ProposeTime(), "propose time")

    def do_read(self, name: str, ref: str) -> None:
        self.cluster.read(name, int(ref))

    def do_change(self, name: str, voters: str, ref: str = "99") -> None:
        event = ChangeMembership(int(ref), self.cluster.members(_spaced(voters)))
        self.cluster.step(name, event, f"change to {voters}")

    def do_transfer(self, name: str, to: str = "", ref: str = "98") -> None:
        target = self.cluster.hosts[to].me if to else None
        self.cluster.step(name, TransferLeadership(int(ref), target), f"transfer {to or 'to the best'}")

    def do_snapshot(self, name: str, index: str = "0", keep: str = "0") -> None:
        self.cluster.snapshot(name, int(index), int(keep))

    # Disks

    def do_save(self, name: str, count: str = "1000") -> None:
        self.cluster.save(name, int(count))

    def do_load(self, name: str) -> None:
        self.cluster.answer_loads(name)

    def do_restored(self, name: str) -> None:
        self.cluster.finish_restore(name)

    def do_unrestored(self, name: str) -> None:
        self.cluster.finish_restore(name, ok=False)

    # The network

    def do_deliver(self, link: str = "", kind: str = "", count: str = "1000") -> None:
        """`deliver`, `deliver a->b`, `deliver a->b AppendEntries 1`: what is under way now, oldest first."""
        self.cluster.deliver(*_ends(link), kind, count=int(count))

    def do_repeat(self, link: str = "", kind: str = "", count: str = "1000") -> None:
        """As `deliver`, but the messages stay under way and will arrive again."""
        self.cluster.deliver(*_ends(link), kind, count=int(count), copy=True)

    def do_drop(self, link: str = "", kind: str = "") -> list[str]:
        dropped = [f"lost: {message_text(message)}" for message in self.cluster.under_way(*_ends(link), kind)]
        self.cluster.drop(*_ends(link), kind)
        return dropped

    def do_network(self) -> list[str]:
        """What is under way."""
        return [message_text(message) for message in self.cluster.network]

    def do_cut(self, *links: str) -> None:
        """`cut a-b` both directions, `cut a->b` one."""
        for link in links:
            one, other = _ends(link) if "->" in link else (link.partition("-")[0], link.partition("-")[2])
            self.cluster.cut.add((one, other))
            if "->" not in link:
                self.cluster.cut.add((other, one))

    def do_isolate(self, *names: str) -> None:
        self.cluster.isolate(*names)

    def do_heal(self) -> None:
        self.cluster.heal()

    def do_lost(self, name: str, other: str) -> None:
        self.cluster.connection_lost(name, other)

    def do_back(self, name: str, other: str) -> None:
        self.cluster.connection_back(name, other)

    def do_silent(self, name: str, other: str, since: str = "0") -> None:
        """`name` learns that the node of `other` is silent, and was last heard `since` ms ago."""
        self.cluster.node_silent(name, other, int(since))

    def do_restarted(self, name: str, other: str) -> None:
        """`name` learns that the node of `other` was started anew."""
        self.cluster.step(name, NodeRestarted(f"{other}:1"), f"node {other} restarted")

    def do_rouse(self, name: str) -> None:
        """`name` learns that the nodes disagree about who is quiet."""
        self.cluster.step(name, Rouse(), "rouse")

    # Time

    def do_time(self, name: str, passed: str) -> None:
        self.cluster.time(name, int(passed))

    def do_timeout(self, name: str) -> None:
        self.cluster.timeout(name)

    def do_elect(self, name: str) -> None:
        """All clocks pass two election timeouts unseen; then `name` times out and everything settles."""
        self.cluster.elect(name)

    def do_stabilise(self) -> None:
        self.cluster.stabilise()

    def do_run(self, passed: str) -> None:
        self.cluster.run(int(passed))

    # Views

    def do_state(self, *names: str) -> list[str]:
        """A line for each replica."""
        return [self._state(name) for name in names or self.cluster.hosts]

    def _state(self, name: str) -> str:
        host = self.cluster.hosts[name]
        raft = host.raft
        if raft is None:
            return f"{name}: stopped by a fault" if host.fault else f"{name}: down"
        log = raft.log
        return (
            f"{name}: {raft.role_name.value} term {raft.current_term} vote {member_text(raft.voted_for)} "
            f"leader {member_text(raft.leader)} log ({log.base_index},{log.last_index}] commit {raft.commit_index} "
            f"durable {raft.saves.durable_index}"
        )

    def do_resting(self) -> list[str]:
        """Who is quiet."""
        quiet = [name for name, host in self.cluster.hosts.items() if host.raft is not None and host.raft.role.is_quiet]
        return [f"quiet: {' '.join(quiet) or 'nobody'}"]

    def do_logs(self, *names: str) -> list[str]:
        """The terms of every entry, one digit or more each."""
        return [
            f"{name}: after {self.cluster[name].log.base_index}: {' '.join(map(str, self.cluster.terms(name)))}"
            for name in names or self.cluster.hosts
        ]

    def do_times(self, name: str) -> list[str]:
        """Whole seconds of replicated time of every entry of one log."""
        return [" ".join(f"{batch.first}: {batch.time // 1000} s" for batch in self.cluster.hosts[name].disk.journal())]

    def do_batches(self, name: str) -> list[str]:
        """The batches of one log."""
        return [batch_text(batch) for batch in self.cluster.hosts[name].disk.journal()]

    def do_followers(self, name: str) -> list[str]:
        """What the leader knows of them."""
        role = self.cluster[name].role
        if not isinstance(role, Leader):
            return [f"{name} does not lead"]
        return [
            f"{each.peer.name}: {progress.state.value} match {progress.match_index} next {progress.next_index}"
            for each, progress in role.progress.items()
        ]


def _spaced(names: str) -> str:
    return names.replace(",", " ")


def _ends(link: str) -> tuple[str, str]:
    sender, _, to = link.partition("->")
    return sender, to
