"""An expected error as one line that says what was wrong and what to do about it."""

from __future__ import annotations

from typing import Final

from zraft.errors import (
    AddressInUse,
    AllPeersFailed,
    BackendError,
    CatchUpTimeout,
    ChangeInProgress,
    ConfigError,
    CreateError,
    Lagged,
    LeaderChanged,
    MembershipError,
    NewerExists,
    NotStable,
    OutcomeUnknown,
    Overloaded,
    PeersChanged,
    PeerUnavailable,
    RequestError,
    RequestTimeout,
    ZraftError,
)

_PROBLEMS: Final = {
    "already_present": "a peer of that name is there already (zraft status shows it; choose another name)",
    "node_down": "the node cannot be reached (start it with zraft server)",
    "unknown_backend": "the node does not have that backend (give it to the node, or choose another with --backend)",
}

_ADVICE: Final[tuple[tuple[type[ZraftError], str], ...]] = (
    (AddressInUse, "stop that process, or choose another port with --listen"),
    (AllPeersFailed, "check the names with zraft status, or start what is missing"),
    (Overloaded, "try again in a moment"),
    (NotStable, "try again in a moment"),
    (ChangeInProgress, "try again in a moment"),
    (CatchUpTimeout, "see that its node reaches the others, and they it, then try again"),
    (LeaderChanged, "the same command again waits for it"),
    (PeersChanged, "look with zraft conf, then try again"),
    (NewerExists, "look with zraft conf, then try again"),
    (Lagged, "zraft watch without --from-index shows what is there; with --from-index and this index what came after"),
    (BackendError, "see the log of the leader's node"),
)


def line_of(error: ZraftError) -> str:
    """One line without the program's name before it."""
    return " ".join(_text_of(error).split())


def _text_of(error: ZraftError) -> str:
    if isinstance(error, CreateError):
        refusal = error.__cause__
        if isinstance(refusal, PeerUnavailable) and "handshake refused" in str(refusal):
            return f"nothing was made: {_text_of(refusal)}"
        return "nothing was made: " + "; ".join(f"{peer}: {_PROBLEMS[why]}" for peer, why in error.errors.items())
    if isinstance(error, ConfigError):
        return f"the configuration is wrong: {error}"
    text = str(error) or type(error).__name__
    if isinstance(error, PeerUnavailable):
        return f"{text}; {_way_to_reach(text)}"
    if isinstance(error, RequestTimeout | OutcomeUnknown):
        return f"{text}; {_what_became_of_it(error)}"
    if type(error) is MembershipError and "is not a voter" in text:
        return f"{text}; zraft conf shows who is"
    advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
    return f"{text}; {advice}" if advice and advice not in text else text


def _way_to_reach(text: str) -> str:
    if "(secret)" in text:
        return "set ZRAFT_CLIENT_SECRET to the client_secret of the nodes"
    if "(cluster)" in text:
        return "give the name of the nodes' cluster with --cluster"
    if "handshake refused" in text:
        return "check that zraft nodes of this version are there"
    if text.startswith("no peer"):
        return (
            "check the names with zraft status; a member that lost its disk is taken in again with zraft set-conf and "
            "all members, a group is made with zraft create"
        )
    return "check the address, or start the node with zraft server"


def _what_became_of_it(error: RequestError) -> str:
    if error.executed == "no":
        return "it did not run: start what is missing, or try again"
    return "it may or may not have run: read before you repeat it"
