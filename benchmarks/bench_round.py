"""One round of the product itself (`round`): four owners, 15 000 parameters, in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import measure, record, row
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.round import Attempt, secure_sum
from feddiff_secure.transport.inprocess import InProcessExchange

NAMES = tuple(f"owner-{i}" for i in range(4))
CLASSES, FEATURES = 15, 1000
ROUNDS = 20


def _ledger(folder: Path, name: str) -> Ledger:
    """On a real disk: what is synced before a vector leaves is part of a round."""
    return Ledger.open(
        folder / f"{name}.jsonl",
        owner=name,
        holding="benchmark",
        lifetime_epsilon=None,
        delta=1e-5,
        tiles=bytes(32),
    )


def _federation(plan: Plan, folder: Path) -> tuple[InProcessExchange, Registry]:
    """Owners with one tile each, so that training itself takes next to nothing."""
    random = SecureRandom()
    identities = {name: IdentityKey.generate(random) for name in NAMES}
    registry = Registry({name: key.public for name, key in identities.items()})
    one = TileExamples.group(np.ones((1, FEATURES)), np.zeros(1, np.int64), np.zeros(1, np.int64))
    owners = {
        name: Owner(name, one, identities[name], registry, random, ledger=_ledger(folder, name))
        for name in NAMES
    }
    exchange = InProcessExchange(owners)
    replies = exchange.exchange("plan", {name: {"plan": plan.to_json()} for name in NAMES}, 60.0)
    assert all("accepted" in reply for reply in replies.values()), replies
    return exchange, registry


@row("round")
def bench_round(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """From the model that owners are shown to the sum: noise, five phases, and every message."""
    config = RunConfig(owners=4, nominal_tiles=1000, rounds=ROUNDS + 1)
    plan = make_plan(
        config, session=bytes(16), owners=NAMES, tile=1, classes=CLASSES, features=FEATURES
    )
    exchange, registry = _federation(plan, tmp_path)
    weights = np.zeros((CLASSES, FEATURES))
    attempts = iter(range(ROUNDS + 1))

    def one_round() -> None:
        secure_sum(exchange, registry, plan, Attempt("train", next(attempts), 0, weights))

    measure(benchmark, one_round, rounds=ROUNDS)
    record(
        benchmark,
        "ms CPU",
        scale=1e3,
        reference=f"4 owners × {CLASSES * FEATURES} parameters, gradients of one tile included",
    )
