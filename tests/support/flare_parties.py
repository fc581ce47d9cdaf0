"""Components of a FLARE job for tests: sites that make any owner, a server that passes phases on.

The site's owner is the real one, with examples and keys that the test chose. The server's component
is a relay: the test's own process is the coordinator and reaches the owners through it.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from feddiff_crypto.encoding import Value, decode, encode
from feddiff_crypto.keys import IdentityKey, IdentityPublic, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import parse_registry
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.custodian import CustodianIdentity, CustodianNode
from feddiff_secure.federation.owner import Owner
from feddiff_secure.transcript.witness import MemoryStore, OwnerWitness
from feddiff_secure.transport.exchange import Message, Party
from feddiff_secure.transport.flare.controller import CoordinatorController
from feddiff_secure.transport.flare.exchange import FlareExchange
from feddiff_secure.transport.flare.executor import PartyExecutor

SOCKET_FILE = "bench.json"
OWNERS = tuple(f"owner-{i:03d}" for i in range(1, 6))
CUSTODIAN = "custodian"
NAMES = (*OWNERS, CUSTODIAN)


class AnyParty:
    """An owner or custodian that can be made anew, and looked into, by phases of the test."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._party: Any = None

    def handle(self, phase: str, message: Message) -> Message:
        if phase == "test_make":
            self._held.close()
            self._held = ExitStack()
            self._party = self._made(message)
            return {"made": True}
        if phase == "test_charged":
            charged: Counter[str] = self._party.charged
            return dict(charged)
        if phase == "test_model":
            return {"weights": self._party.model(), "tiles": self._party.tiles}
        if phase == "test_decrypted":
            return {"number": len(self._party.decrypted)}
        if phase == "test_close":
            self._held.close()
            return {"closed": True}
        if phase == "test_raise":
            raise RuntimeError("a secret of the site")
        reply: Message = self._party.handle(phase, message)
        return reply

    def _made(self, fields: Any) -> Party:
        key = IdentityKey(fields["identity"])
        known = parse_registry(fields["registry"])
        owners = known.pinned(str(fields["roster"]).split("\n"))
        if "features" not in fields:
            who = CustodianIdentity(fields["name"], key, owners)
            return CustodianNode(who, SecureRandom())
        examples = TileExamples.group(
            np.array(fields["features"]), np.array(fields["labels"]), np.array(fields["tile"])
        )
        witness = None
        if fields["log_key"]:
            log_key = IdentityPublic(fields["log_key"])
            witness = OwnerWitness(fields["name"], key, owners, log_key, MemoryStore())
        custodian = fields["custodian"]
        return Owner(
            fields["name"],
            examples,
            key,
            owners,
            SecureRandom(),
            ledger=self._held.enter_context(
                Ledger.open(
                    Path(fields["ledger"]),
                    owner=fields["ledger_owner"],
                    holding=fields["ledger_holding"],
                    lifetime_epsilon=fields["lifetime"] if fields["lifetime"] > 0 else None,
                    delta=fields["delta"],
                    tiles=bytes(32),
                )
            ),
            custodians=Registry({CUSTODIAN: IdentityPublic(custodian)}) if custodian else None,
            witness=witness,
        )


class BenchExecutor(PartyExecutor):
    """The site's component."""

    def make_party(self, name: str, local: Path) -> Party:
        return AnyParty()


class BenchController(CoordinatorController):
    """The server's component: passes phases from a socket of the test's on to the sites."""

    def parties(self, job: Path) -> tuple[str, ...]:
        return NAMES

    def coordinate(self, exchange: FlareExchange, local: Path, job: Path) -> None:
        path = json.loads((local / SOCKET_FILE).read_text())["socket"]
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen(1)
            connection, _ = listening.accept()
            with connection, connection.makefile("rwb") as stream:
                while (request := receive(stream)) is not None:
                    send(stream, _passed(exchange, request))


def _passed(exchange: FlareExchange, request: Message) -> Message:
    messages = {
        key[1:]: decode(value)
        for key, value in request.items()
        if key.startswith("@") and isinstance(value, bytes)
    }
    phase, timeout = request["phase"], request["timeout"]
    assert isinstance(phase, str)
    assert isinstance(timeout, float)
    if phase == "test_renumber":
        exchange._number += int(timeout)
        return {}
    try:
        replies = exchange.exchange(phase, messages, timeout)
    except ProtocolAbortedError as error:
        return {"aborted": str(error)}
    return {f"@{name}": encode(reply) for name, reply in replies.items()}


def send(stream: Any, message: Message) -> None:
    """One message, after its length."""
    data = encode(message)
    stream.write(len(data).to_bytes(8, "big") + data)
    stream.flush()


def receive(stream: Any) -> dict[str, Value] | None:
    """The next message; None at the end."""
    head = stream.read(8)
    return decode(stream.read(int.from_bytes(head, "big"))) if len(head) == 8 else None
