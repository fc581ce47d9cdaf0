"""One federation over FLARE for many tests: owners of tests live at its sites.

`FlareBench.carry(monkeypatch)` puts real FLARE sites, with mutual TLS on loopback, in the place of
the in-process owners of `tests.support.federations` and `tests.support.transcripts`.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from feddiff_crypto.encoding import decode, encode
from feddiff_crypto.keys import IdentityKey, IdentityPublic, Registry
from feddiff_crypto.registry_file import RegistryFile
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.ledger.balance import Balance
from feddiff_privacy.ledger.chain import parse_chain
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.custodian import CustodianIdentity
from feddiff_secure.transcript.witness import OwnerWitness
from feddiff_secure.transport.exchange import Message
from feddiff_secure.transport.flare.job import JobParts, make_job
from feddiff_secure.transport.flare.local_kits import Kits, free_port, make_local_kits
from feddiff_secure.transport.flare.processes import FlareProcesses
from feddiff_secure.transport.flare.session import AdminSession
from feddiff_secure.transport.inprocess import InProcessExchange
from tests.support import federations, transcripts
from tests.support.flare_parties import CUSTODIAN, NAMES, SOCKET_FILE, receive, send

REPOSITORY = Path(__file__).parents[2]
EXECUTOR = "tests.support.flare_parties.BenchExecutor"
CONTROLLER = "tests.support.flare_parties.BenchController"
WAIT = 120.0  # seconds


class FlareBench:
    """A running job of `flare_parties`.

    Attributes:
        kits: startup kits. processes: server and sites. session: the submitter's. job_id: the job.
    """

    def __init__(
        self, kits: Kits, processes: FlareProcesses, session: AdminSession, job_id: str, stream: Any
    ) -> None:
        self.kits, self.processes, self.session, self.job_id = kits, processes, session, job_id
        self._stream = stream

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """Start everything; it ends with the block."""
        with tempfile.TemporaryDirectory(prefix="flare-") as name:
            folder = Path(name)
            kits = make_local_kits(
                folder / "kits", NAMES, port=free_port(), components=[EXECUTOR, CONTROLLER]
            )
            path = folder / "bench.socket"
            settings = json.dumps({"socket": str(path)})
            (kits.server / "local" / SOCKET_FILE).write_text(settings)
            parts = JobParts("bench", NAMES, len(NAMES) - 1, CONTROLLER, EXECUTOR, {})
            job = make_job(folder / "job", parts)
            with (
                pytest.MonkeyPatch.context() as patch,
                FlareProcesses(folder / "logs") as processes,
            ):
                roots = [REPOSITORY, REPOSITORY / "crypto", REPOSITORY / "privacy"]
                patch.setenv("PYTHONPATH", os.pathsep.join(map(str, roots)))
                processes.start_server(kits.server)
                for site, kit in kits.sites.items():
                    processes.start_site(site, kit)
                with AdminSession(kits.admin, WAIT) as session:
                    session.wait_for(NAMES, WAIT)
                    job_id = session.submit(job)
                    with connected(path) as stream:
                        bench = cls(kits, processes, session, job_id, stream)
                        bench.wait_for_all()
                        yield bench

    def exchange(
        self, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        """One phase over FLARE."""
        fields: dict[str, Any] = {f"@{name}": encode(m) for name, m in messages.items()}
        send(self._stream, {"phase": phase, "timeout": float(timeout), **fields})
        answer = receive(self._stream)
        if answer is None or "aborted" in answer:
            raise ProtocolAbortedError(str((answer or {}).get("aborted")), "the job is over")
        found = {name[1:]: decode(bytes(blob)) for name, blob in answer.items()}  # type: ignore[arg-type]  # the relay sends bytes
        return {name: found[name] for name in messages if name in found}

    def ask(self, name: str, phase: str, message: Message) -> Message:
        """One message to one site that has to answer."""
        return self.exchange(phase, {name: message}, WAIT)[name]

    def renumber(self, by: int) -> None:
        """Let the server count its exchanges from elsewhere."""
        send(self._stream, {"phase": "test_renumber", "timeout": float(by)})
        receive(self._stream)

    def wait_for_all(self) -> None:
        """Until every site's job process answers."""
        until = time.monotonic() + WAIT
        while set(self.exchange("test_close", {name: {} for name in NAMES}, 2.0)) != set(NAMES):
            assert time.monotonic() < until, "sites do not answer"
            time.sleep(0.2)

    def carry(self, patch: pytest.MonkeyPatch) -> None:
        """Let the owners that tests make live at the sites, for as long as `patch` holds."""
        remote = type("RemoteOwner", (_RemoteOwner,), {"bench": self})
        custodian = type("RemoteCustodian", (_RemoteCustodian,), {"bench": self})
        ledgers = type("RemoteLedger", (_RemoteLedger,), {"bench": self})
        for module in (federations, transcripts):
            patch.setattr(module, "Owner", remote)
            patch.setattr(module, "CustodianNode", custodian)
        patch.setattr(transcripts, "Ledger", ledgers)
        patch.setattr(federations, "fresh_ledger", ledgers.fresh)
        patch.setattr(InProcessExchange, "exchange", _over(self))


def _over(bench: FlareBench) -> Any:
    def exchange(
        self: InProcessExchange, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        return bench.exchange(phase, messages, timeout)

    return exchange


class _RemoteLedger:
    """A ledger that a site opens, read here."""

    bench: FlareBench

    def __init__(self, path: Path, **options: Any) -> None:
        self.path, self.options, self.site = path, options, ""

    @classmethod
    def open(cls, path: Path, **options: Any) -> Self:
        return cls(path, **options)

    @classmethod
    def fresh(cls, lifetime: float | None = None) -> Self:
        folder = tempfile.mkdtemp(prefix="ledger-")
        given = {"owner": "ann", "holding": "plots", "delta": 1e-5, "lifetime_epsilon": lifetime}
        return cls(Path(folder) / "ann.plots.jsonl", **given)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.site:
            self.bench.ask(self.site, "test_close", {})

    @property
    def balance(self) -> Balance:
        return parse_chain(self.path.read_bytes(), self.path).balance


class _RemoteOwner:
    """An owner at a FLARE site, made there with what a test gives it."""

    bench: FlareBench

    def __init__(
        self,
        name: str,
        examples: TileExamples,
        identity: IdentityKey,
        registry: Registry,
        _random: object,
        *,
        ledger: _RemoteLedger,
        custodians: Registry | None = None,
        witness: OwnerWitness | None = None,
    ) -> None:
        self.name, ledger.site = name, name
        sizes = np.diff([*examples.starts, len(examples.labels)])
        lifetime = ledger.options["lifetime_epsilon"]
        _make(
            self.bench,
            name,
            identity,
            registry,
            {
                "features": examples.features,
                "labels": examples.labels,
                "tile": np.repeat(np.arange(len(sizes)), sizes),
                "log_key": b"" if witness is None else witness._log_key.raw,
                "custodian": b"" if custodians is None else custodians.identities[CUSTODIAN].raw,
                "ledger": str(ledger.path),
                "ledger_owner": ledger.options["owner"],
                "ledger_holding": ledger.options["holding"],
                "lifetime": -1.0 if lifetime is None else float(lifetime),
                "delta": ledger.options["delta"],
            },
        )

    @property
    def charged(self) -> dict[str, Any]:
        return {"train": 0, **self.bench.ask(self.name, "test_charged", {})}

    def model(self) -> NDArray[np.float64]:
        weights = self.bench.ask(self.name, "test_model", {})["weights"]
        assert isinstance(weights, np.ndarray)
        return weights

    @property
    def tiles(self) -> int:
        return int(self.bench.ask(self.name, "test_model", {})["tiles"])  # type: ignore[arg-type]  # an integer

    def handle(self, phase: str, message: Message) -> Message:
        return self.bench.ask(self.name, phase, message)


class _RemoteCustodian:
    """A custodian at a FLARE site."""

    bench: FlareBench

    def __init__(self, who: CustodianIdentity, _random: object) -> None:
        self.name = who.party
        _make(self.bench, who.party, who.identity, who.owners, {})

    @property
    def decrypted(self) -> range:
        return range(int(self.bench.ask(self.name, "test_decrypted", {})["number"]))  # type: ignore[arg-type]  # an integer

    def handle(self, phase: str, message: Message) -> Message:
        return self.bench.ask(self.name, phase, message)


def _make(
    bench: FlareBench, name: str, identity: IdentityKey, registry: Registry, fields: dict[str, Any]
) -> None:
    known: dict[str, IdentityPublic] = dict(registry.identities)
    made = bench.ask(
        name,
        "test_make",
        {
            "name": name,
            "identity": identity.raw,
            "registry": RegistryFile(dict(sorted(known.items()))).to_bytes(),
            "roster": "\n".join(registry.parties),
            **fields,
        },
    )
    assert made == {"made": True}, made


@contextmanager
def connected(path: Path) -> Iterator[Any]:
    """The stream of a socket that somebody is about to open."""
    until = time.monotonic() + WAIT
    while not path.exists():
        assert time.monotonic() < until, f"{path} does not appear"
        time.sleep(0.1)
    with socket.socket(socket.AF_UNIX) as talking:
        talking.connect(str(path))
        with talking.makefile("rwb") as stream:
            yield stream
