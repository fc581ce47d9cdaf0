"""Nodes with settings, keys, ledgers and data of their own, through a run of the protocol."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from numpy.typing import NDArray

from feddiff_crypto.identity_file import write_identity
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import RegistryFile, write_registry
from feddiff_privacy.ledger.reading import Reading, read_ledger
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.read import read_dataset
from feddiff_secure.errors import DataError, ProtocolAbortedError, UsageError
from feddiff_secure.federation.examples import blocks_of
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.training import train
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.node.opening import ledger_path
from feddiff_secure.node.owner_opening import PublicJob, open_owner, open_party
from feddiff_secure.node.plan_signature import SignedPlans
from feddiff_secure.node.review import decide, pending
from feddiff_secure.node.settings import NodeSettings
from feddiff_secure.transport.exchange import REFUSED, Message, Party
from feddiff_secure.transport.inprocess import InProcessExchange
from scripts.make_tiny_table import tiny_table
from tests.support.memoised import memoise_accounting

OWNERS = ("ann", "ben", "cem")
CONFIG = RunConfig(epsilon=8.0, rounds=2, nominal_tiles=100, tile=1, owners=3)
TEXT = """\
version = 1
data = "data.h5"
holding = "plots"
ledger = "ledger"
identity = "identity.key"
registry = "registry.json"
[policy]
largest_epsilon = 8
lifetime_epsilon = 16
show_bounds = true
"""


@dataclass
class Nodes:
    """Three organisations' folders, each as docs/deploy.md leaves it."""

    folder: Path
    job: PublicJob
    plan: Plan
    keys: dict[str, IdentityKey]
    held: ExitStack

    def settings(self, name: str) -> NodeSettings:
        return NodeSettings.load(self.folder / name / "node.toml")

    def change(self, name: str, old: str, new: str) -> None:
        path = self.folder / name / "node.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def open(self) -> dict[str, Party]:
        return {name: open_party(self.settings(name), self.job, self.held) for name in OWNERS}

    def run(
        self, owners: dict[str, Party], coordinator: IdentityKey | None = None
    ) -> NDArray[np.float64]:
        registry = self.open_registry()
        exchange = InProcessExchange(owners)
        trained = train(
            SignedPlans(exchange, coordinator or self.keys["coordinator"]),
            registry.pinned(OWNERS),
            self.plan,
            check_count=lambda _tiles: None,
            log=lambda _line: None,
            progress=Silent(),
        )
        return trained.weights

    def open_registry(self) -> RegistryFile:
        return RegistryFile({name: key.public for name, key in self.keys.items()})

    def readings(self) -> dict[str, Reading]:
        return {name: read_ledger(ledger_path(self.settings(name), name)) for name in OWNERS}


@pytest.fixture(autouse=True)
def _accounted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> tuple[PublicJob, Plan, dict[str, Path]]:
    """A job, its plan, and one data file an owner."""
    folder = tmp_path_factory.mktemp("data")
    files = {}
    for seed, name in enumerate(OWNERS):
        files[name] = folder / f"{name}.h5"
        write_scene(files[name], tiny_table(pixels=40, bands=6, seed=seed))
    dataset = read_dataset(files["ann"])
    job = PublicJob(CONFIG, dataset.layout, dataset.classes, 1, OWNERS)
    features = FeatureMap.public(job.layout, tile=1, seed=CONFIG.seed)
    plan = make_plan(
        CONFIG,
        session=bytes(16),
        owners=OWNERS,
        tile=1,
        classes=len(job.classes),
        features=sum(features.widths.values()),
        blocks=blocks_of(features, CONFIG),
    )
    return job, plan, files


@pytest.fixture
def nodes(tmp_path: Path, public: tuple[PublicJob, Plan, dict[str, Path]]) -> Iterator[Nodes]:
    job, plan, files = public
    keys = {name: IdentityKey.generate(SecureRandom()) for name in (*OWNERS, "coordinator")}
    registry = RegistryFile({name: key.public for name, key in sorted(keys.items())})
    for name in OWNERS:
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        write_identity(folder / "identity.key", name, keys[name], None, SecureRandom())
        write_registry(folder / "registry.json", registry)
        (folder / "data.h5").write_bytes(files[name].read_bytes())
        (folder / "node.toml").write_text(TEXT)
    with ExitStack() as held:
        yield Nodes(tmp_path, job, plan, keys, held)


def test_three_nodes_train_a_model_and_each_charges_its_own_ledger(nodes: Nodes) -> None:
    weights = nodes.run(nodes.open())
    assert weights.shape == (nodes.plan.classes, nodes.plan.features)
    assert np.isfinite(weights).all()
    for reading in nodes.readings().values():
        assert reading.attempts == 3  # the mean and two rounds
        assert reading.lifetime_epsilon == 16.0
        assert 7.9 < reading.spent <= 8.0


def test_a_job_over_one_nodes_policy_ends_with_its_reason_and_nothing_is_spent(
    nodes: Nodes,
) -> None:
    nodes.change("ben", "largest_epsilon = 8", "largest_epsilon = 4")
    with pytest.raises(ProtocolAbortedError) as error:
        nodes.run(nodes.open())
    assert "ben did not accept the plan: policy_refused: epsilon_over_policy: 8 > 4" in str(
        error.value
    )
    readings = nodes.readings()
    assert all(reading.attempts == 0 for reading in readings.values())
    assert readings["ben"].entries == 1  # the header: not even reserved


def test_a_reason_is_a_code_alone_where_the_owner_shows_no_bounds(nodes: Nodes) -> None:
    nodes.change("ben", "largest_epsilon = 8", "largest_epsilon = 4.56789")
    nodes.change("ben", "show_bounds = true", "show_bounds = false")
    with pytest.raises(ProtocolAbortedError) as error:
        nodes.run(nodes.open())
    assert str(error.value).endswith("policy_refused: epsilon_over_policy")
    assert "4.5" not in str(error.value) + error.value.hint


def test_a_node_with_another_identity_key_than_the_pinned_one_spoils_nothing(
    nodes: Nodes,
) -> None:
    """Its certificate may be right: FLARE would let it in. Nobody's vector leaves."""
    stranger = IdentityKey.generate(SecureRandom())
    folder = nodes.folder / "ben"
    (folder / "identity.key").unlink()
    write_identity(folder / "identity.key", "ben", stranger, None, SecureRandom())
    with pytest.raises(UsageError, match="does not pin ben"):  # an honest node notices itself
        nodes.open()
    nodes.held.pop_all().close()
    own = {**nodes.open_registry().parties, "ben": stranger.public}
    write_registry(folder / "registry.json", RegistryFile(dict(sorted(own.items()))))
    with pytest.raises(ProtocolAbortedError):
        nodes.run(nodes.open())
    assert all(reading.attempts == 0 for reading in nodes.readings().values())


def test_owners_that_a_node_does_not_pin_are_no_owners_of_a_job(nodes: Nodes) -> None:
    path = nodes.folder / "cem" / "registry.json"
    fewer = {name: key for name, key in nodes.open_registry().parties.items() if name != "ann"}
    write_registry(path, RegistryFile(fewer))
    with pytest.raises(UsageError, match="'ann' is not one of"):
        nodes.open()


def test_a_job_of_another_layout_is_refused_before_the_ledger_is_opened(nodes: Nodes) -> None:
    write_scene(nodes.folder / "ann" / "data.h5", tiny_table(pixels=40, bands=7, seed=0))
    with pytest.raises(DataError, match="7 channels, expected 6"):
        nodes.open()
    assert not (nodes.folder / "ann" / "ledger").exists()


def test_a_job_does_not_choose_data_keys_or_ledger(nodes: Nodes) -> None:
    """A configuration that names the coordinator's idea of them changes nothing."""
    before = hashlib.sha256((nodes.folder / "ann" / "data.h5").read_bytes()).digest()
    config = RunConfig(
        epsilon=8.0, rounds=2, nominal_tiles=100, tile=1, owners=3,
        data="/etc/hostname", ledger="/elsewhere", holding="other",
    )  # fmt: skip
    job = PublicJob(config, nodes.job.layout, nodes.job.classes, 1, OWNERS)
    open_owner(nodes.settings("ann"), job, nodes.held)
    assert [path.name for path in (nodes.folder / "ann" / "ledger").glob("*.jsonl")] == [
        "ann.plots.jsonl"
    ]
    assert hashlib.sha256((nodes.folder / "ann" / "data.h5").read_bytes()).digest() == before


def test_a_node_that_reviews_holds_the_run_until_its_person_has_decided(nodes: Nodes) -> None:
    nodes.change("cem", "[policy]", "review = true\nreview_timeout_s = 1\n[policy]")
    with pytest.raises(ProtocolAbortedError, match="cem did not accept the plan: review_refused"):
        nodes.run(nodes.open())
    assert all(reading.attempts == 0 for reading in nodes.readings().values())
    settings = nodes.settings("cem")
    assert pending(settings.pending) == [nodes.plan.digest().hex()]
    nodes.held.pop_all().close()
    # The others had reserved that plan and closed it, so it is over: the next job has its own.
    nodes.plan = replace(nodes.plan, session=SecureRandom().random_bytes(16).hex())
    settings.pending.mkdir(exist_ok=True)
    nodes.change("cem", "review_timeout_s = 1", "review_timeout_s = 60")
    person = Thread(target=approve_when_asked, args=(settings.pending, nodes.plan.digest().hex()))
    person.start()
    nodes.run(nodes.open())
    person.join()
    assert nodes.readings()["cem"].attempts == 3


def approve_when_asked(folder: Path, digest: str) -> None:
    """What a person does: look, and decide."""
    for _ in range(600):
        if digest in pending(folder):
            decide(folder, digest, "approve")
            return
        time.sleep(0.05)


def test_a_server_without_the_coordinators_identity_gets_no_plan_accepted(nodes: Nodes) -> None:
    """It has the coordinator's machine, address and certificate, and knows every public number."""
    wrong = IdentityKey.generate(SecureRandom())
    with pytest.raises(ProtocolAbortedError, match="plan_unsigned"):
        nodes.run(nodes.open(), wrong)
    for reading in nodes.readings().values():
        assert (reading.entries, reading.attempts) == (1, 0)


@pytest.mark.parametrize("phase", ["plan", "follow"])
def test_a_plan_is_refused_unless_the_coordinator_signed_exactly_it(
    nodes: Nodes, phase: str
) -> None:
    seen: list[Message] = []

    class Listener:
        def handle(self, phase: str, message: Message) -> Message:
            seen.append(message)
            return {}

    plan = nodes.plan.to_json()
    signer = SignedPlans(InProcessExchange({"ann": Listener()}), nodes.keys["coordinator"])
    signer.exchange(phase, {"ann": {"plan": plan}}, 1.0)
    (signed,) = seen
    signature = signed["signature"]
    assert isinstance(signature, bytes)
    ann = nodes.open()["ann"]
    for message in (
        {"plan": plan},
        {"plan": plan, "signature": signature[:-1] + bytes([signature[-1] ^ 1])},
        {"plan": plan.replace(b'"rounds":2', b'"rounds":3'), "signature": signature},
        {"plan": plan, "signature": signature.hex()},
        {"signature": signature},
    ):
        assert ann.handle(phase, message) == {REFUSED: "plan_unsigned"}
    assert ann.handle("plan", signed) == {"accepted": nodes.plan.digest()}
