"""The simulated network: directed links that delay, lose, repeat, hold back and cut what they carry.

A frame is bytes. Each link has its own weather; reordering follows from delays drawn per frame. A frame may be
repeated up to `replay_ms` later, when its sender's term, connection or life is long over. A clogged link holds its
frames and lets them go at once. A cut link loses what is sent and what is under way; `cut` and `mend` are one-way,
every shape of a partition is a set of cut links.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from zraft.sim.chance import Chance
from zraft.sim.scheduler import ANY_LIFE, Owner, Scheduler
from zraft.types import Millis

Deliver: TypeAlias = Callable[[str, str, bytes], None]
"""(source, destination, frame): called when a frame arrives."""

Link: TypeAlias = tuple[str, str]


class Weather(msgspec.Struct):
    """How a link treats its frames. Rates are per million frames; delays are milliseconds."""

    delay_ms: Millis = 1
    """Every frame takes at least this."""
    jitter_ms: Millis = 0
    """Mean of what is added, drawn exponentially: frames overtake each other."""
    loss: int = 0
    duplicate: int = 0
    """The copy arrives about when the frame does."""
    replay: int = 0
    """The copy arrives up to `replay_ms` later."""
    replay_ms: Millis = 10_000


class Tally(msgspec.Struct):
    """What happened to frames."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    cut: int = 0
    duplicated: int = 0
    replayed: int = 0
    clogged: int = 0


class Network:
    """All links between the nodes of one cluster."""

    def __init__(self, scheduler: Scheduler, chance: Chance, deliver: Deliver) -> None:
        self._scheduler, self._chance, self._deliver = scheduler, chance, deliver
        self._owners: dict[str, Owner] = {}
        self._weather: dict[Link, Weather] = {}
        self._clogged_until_ms: dict[Link, Millis] = {}
        self._cut: dict[Link, None] = {}
        self._latest_ms: Millis = 0
        """By then all has arrived that is under way."""
        self.cleared_ms: Millis = 0
        """By then all had, when the weather was cleared last."""
        self.weather = Weather()
        """Of every link that has none of its own."""
        self.tally = Tally()

    def attach(self, owner: Owner) -> None:
        """`owner.name` can be sent to from now on; what arrives while it is paused waits."""
        self._owners[owner.name] = owner

    def names(self) -> list[str]:
        """Everybody attached, in the order of attachment."""
        return list(self._owners)

    def set_weather(self, source: str, destination: str, weather: Weather) -> None:
        """The link from `source` to `destination` has its own weather."""
        self._weather[source, destination] = weather

    def clog(self, source: str, destination: str, until_ms: Millis) -> None:
        """Frames of this link arrive at `until_ms` at the earliest."""
        self._clogged_until_ms[source, destination] = until_ms

    def is_cut(self, source: str, destination: str) -> bool:
        return (source, destination) in self._cut

    def cut(self, source: str, destination: str) -> None:
        """Nothing gets from `source` to `destination`; the other direction is as it was."""
        self._cut[source, destination] = None

    def mend(self, source: str, destination: str) -> None:
        self._cut.pop((source, destination), None)

    def mend_all(self) -> None:
        self._cut.clear()
        self._clogged_until_ms.clear()

    def clear_weather(self, weather: Weather) -> None:
        """Every link has this weather, and only this."""
        self._weather.clear()
        self.weather = weather
        self.cleared_ms = self._latest_ms

    def cut_links(self) -> list[Link]:
        """The links that are cut, in the order in which they were cut."""
        return list(self._cut)

    def send(self, source: str, destination: str, frame: bytes) -> None:
        """`frame` is on its way. It arrives once, several times or never."""
        tally, chance = self.tally, self._chance
        link = (source, destination)
        tally.sent += 1
        if link in self._cut:
            tally.cut += 1
            return
        weather = self._weather.get(link, self.weather)
        if chance.happens(weather.loss):
            tally.lost += 1
            return
        self._launch(link, frame, weather, 0)
        if chance.happens(weather.duplicate):
            tally.duplicated += 1
            self._launch(link, frame, weather, 0)
        if chance.happens(weather.replay):
            tally.replayed += 1
            self._launch(link, frame, weather, chance.below(weather.replay_ms + 1))

    def _launch(self, link: Link, frame: bytes, weather: Weather, extra_ms: Millis) -> None:
        scheduler = self._scheduler
        arrives = scheduler.now_ms + weather.delay_ms + extra_ms
        if weather.jitter_ms:
            arrives += self._chance.exponential(weather.jitter_ms)
        clogged_until = self._clogged_until_ms.get(link, 0)
        if clogged_until > arrives:
            self.tally.clogged += 1
            arrives = clogged_until
        self._latest_ms = max(self._latest_ms, arrives)
        scheduler.at(arrives, self._arrive, (link, frame), owner=self._owners[link[1]], life=ANY_LIFE)

    def _arrive(self, flight: tuple[Link, bytes]) -> None:
        (source, destination), frame = flight
        if (source, destination) in self._cut:
            self.tally.cut += 1
            return
        self.tally.delivered += 1
        self._deliver(source, destination, frame)


def isolate(names: Sequence[str], one: str) -> list[Link]:
    """`one` hears nobody and nobody hears it."""
    return [link for other in names if other != one for link in ((one, other), (other, one))]


def halves(names: Sequence[str], left: Sequence[str]) -> list[Link]:
    """`left` and the others are apart."""
    right = [name for name in names if name not in left]
    return [link for one in left for other in right for link in ((one, other), (other, one))]


def bridge(names: Sequence[str], middle: str) -> list[Link]:
    """Two halves that share one member: `middle` talks with everybody, the halves only within themselves."""
    others = [name for name in names if name != middle]
    return halves(others, others[: len(others) // 2])


def chain(names: Sequence[str]) -> list[Link]:
    """Everybody talks with its neighbours in `names` only (BM-107)."""
    return [(one, other) for place, one in enumerate(names) for far, other in enumerate(names) if abs(place - far) > 1]


def one_way(names: Sequence[str], deaf: str) -> list[Link]:
    """`deaf` hears nobody; everybody hears it."""
    return [(other, deaf) for other in names if other != deaf]


def star_only(names: Sequence[str], leader: str, middle: str) -> list[Link]:
    """`leader` talks with `middle` only; the others are whole: quorum loss with a live link (BM-108)."""
    return [link for other in names if other not in (leader, middle) for link in ((leader, other), (other, leader))]
