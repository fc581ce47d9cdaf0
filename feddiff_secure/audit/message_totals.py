"""An owner's messages added up: in all, by kind, by release."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from feddiff_secure.audit.history import History
from feddiff_secure.audit.passed import Direction, Evidence, Passed
from feddiff_secure.transcript.leaves import AttemptKey, RoundLeaf


def totalled(listed: Sequence[Passed], history: History, owner: str) -> dict[str, Any]:
    """The messages and their sums.

    Args:
        listed: the messages of `owner`, in order. history: the log they are from.
    """
    vectors = [message for message in listed if message.is_vector]
    return {
        "sent": _total(m for m in listed if m.direction is Direction.SENT),
        "received": _total(m for m in listed if m.direction is Direction.RECEIVED),
        "vectors": {
            **_total(vectors),
            "protection": sorted({message.protection for message in vectors}),
            "in_sums": sum(owner in leaf.inputs for leaf in history.rounds),
            "releases": len(history.rounds),
            "given_up": len(history.attempts) - len(history.rounds),
        },
        "by_kind": _by_kind(listed),
        "by_release": _by_release(listed, history, owner),
        "list": [message.to_json() for message in listed],
    }


def _total(messages: Iterable[Passed]) -> dict[str, int]:
    """Messages, bytes of those of known size, how many have no known size, or may not be."""
    found = list(messages)
    unknown = sum(message.evidence is Evidence.UNKNOWN for message in found)
    return {
        "messages": len(found) - unknown,
        "bytes": sum(message.size or 0 for message in found),
        "without_size": sum(message.size is None for message in found) - unknown,
        "unknown": unknown,
    }


def _by_kind(listed: Sequence[Passed]) -> list[dict[str, Any]]:
    groups: dict[tuple[Direction, str], list[Passed]] = defaultdict(list)
    for message in listed:
        groups[message.direction, message.phase].append(message)
    return [
        {
            "direction": direction.value,
            "phase": phase,
            "holds": group[0].holds,
            "protection": group[0].protection,
            "from_data": group[0].is_vector,
            **_total(group),
        }
        for (direction, phase), group in groups.items()
    ]


def _by_release(listed: Sequence[Passed], history: History, owner: str) -> list[dict[str, Any]]:
    groups: dict[AttemptKey, dict[Direction, list[Passed]]] = {
        leaf.key: {Direction.SENT: [], Direction.RECEIVED: []} for leaf in history.attempts
    }
    for message in listed:
        if message.release is not None:
            groups[message.release][message.direction].append(message)
    return [
        {
            **leaf.key.to_json(),
            "completed": isinstance(leaf, RoundLeaf),
            "in_sum": owner in leaf.inputs and isinstance(leaf, RoundLeaf),
            "sent": _total(groups[leaf.key][Direction.SENT]),
            "received": _total(groups[leaf.key][Direction.RECEIVED]),
            "vector_sha256": leaf.inputs[owner].hex() if owner in leaf.inputs else None,
        }
        for leaf in history.attempts
    ]
