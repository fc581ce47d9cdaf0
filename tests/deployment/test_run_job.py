"""A run of nodes with data of their own: the coordinator has the job's public files and no data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from feddiff_crypto.identity_file import write_identity
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import RegistryFile, write_registry
from feddiff_privacy.ledger.chain import parse_chain
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.read import read_dataset
from feddiff_secure.deployment.coordinator_settings import SETTINGS_FILE, CoordinatorSettings
from feddiff_secure.deployment.job_files import CONFIG_FILE, LAYOUT_FILE, JobFiles
from feddiff_secure.deployment.outcome import Outcome
from feddiff_secure.deployment.run_controller import run_job
from feddiff_secure.deployment.run_job import check_across, make_run_job, public_files
from feddiff_secure.deployment.site_party import SiteParty, examples_of
from feddiff_secure.errors import DataError, ProtocolAbortedError, UsageError
from feddiff_secure.federation.ledgers import tiles_digest
from feddiff_secure.federation.owner import Owner
from feddiff_secure.report.run_directory import RunDirectory
from feddiff_secure.transcript.files import COORDINATOR
from feddiff_secure.transcript.witness import MemoryStore, OwnerWitness
from feddiff_secure.transport.inprocess import InProcessExchange
from scripts.make_tiny_table import tiny_table

NAMES = ("ann", "bob", "cec")
CONFIG = RunConfig(
    epsilon=8.0, rounds=2, owners=3, delta=1e-4, nominal_tiles=300, centring=False, engine="flare"
)


@dataclass
class Organisations:
    """Three nodes with a file each, and the coordinator's folder."""

    folder: Path
    sites: dict[str, SiteParty]
    registry: RegistryFile

    @property
    def settings(self) -> CoordinatorSettings:
        return CoordinatorSettings.load(self.folder / SETTINGS_FILE)

    def ledger(self, name: str) -> Path:
        return self.folder / f"{name}.default.jsonl"

    def run(self, job: JobFiles, settings: CoordinatorSettings | None = None) -> Outcome:
        exchange = InProcessExchange(self.sites)
        directory = RunDirectory(self.folder / "run")
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        return run_job(job, settings or self.settings, exchange, directory, work)


def node(
    name: str, data: Path, ledger: Path, key: IdentityKey, known: RegistryFile
) -> Callable[[JobFiles, ExitStack], Owner]:
    """What a node's own software does with its settings, in short."""

    def open_owner(job: JobFiles, held: ExitStack) -> Owner:
        dataset = read_dataset(data)
        job.layout.check_same(dataset.layout, str(data))
        tiles = cut_tiles(dataset, job.tile)
        book = Ledger.open(
            ledger,
            owner=name,
            holding="default",
            lifetime_epsilon=None,
            delta=job.config.delta,
            tiles=tiles_digest(tiles),
        )
        owners = known.pinned(job.owners)
        log_key = known.parties[COORDINATOR]
        return Owner(
            name,
            examples_of(job, tiles),
            key,
            owners,
            SecureRandom(),
            ledger=held.enter_context(book),
            witness=OwnerWitness(name, key, owners, log_key, MemoryStore()),
        )

    return open_owner


@pytest.fixture
def people(tmp_path: Path) -> Organisations:
    keys = {name: IdentityKey.generate(SecureRandom()) for name in (*NAMES, COORDINATOR)}
    known = RegistryFile({name: keys[name].public for name in sorted(keys)})
    write_identity(tmp_path / "c.key", COORDINATOR, keys[COORDINATOR], None, SecureRandom())
    write_registry(tmp_path / "registry.json", known)
    text = 'version = 1\nidentity = "c.key"\nregistry = "registry.json"\nruns = "runs"\n'
    (tmp_path / SETTINGS_FILE).write_text(text)
    sites = {}
    for seed, name in enumerate(NAMES):
        data = tmp_path / f"{name}.h5"
        write_scene(data, tiny_table(pixels=120, bands=20, seed=seed))
        ledger = tmp_path / f"{name}.default.jsonl"
        sites[name] = SiteParty(name, node(name, data, ledger, keys[name], known))
    return Organisations(tmp_path, sites, known)


def test_a_run_without_test_data_has_no_metrics_says_so_and_verifies(
    people: Organisations,
) -> None:
    job = public_files(CONFIG, people.folder / "ann.h5", NAMES)
    outcome = people.run(job)
    assert outcome.metrics is not None
    assert outcome.metrics["oa"] is outcome.metrics["per_class"] is None
    assert outcome.metrics["test"] == "none: the coordinator holds no test data"
    assert outcome.metrics["deployment"] == "flare"
    privacy = json.loads((people.folder / "run" / "privacy.json").read_text())
    assert privacy["lifetime_epsilon"] is None
    assert privacy["epsilon"] <= 8.0
    page = (people.folder / "run" / "privacy.md").read_text()
    assert "hypothetical" not in page
    assert "each owner's node keeps a ledger of its own" in page
    for folder in (None, people.folder):  # with the owners' ledgers in sight too
        verdict = verify_run(people.folder / "run", pins=people.registry, ledgers=folder)
        assert verdict.verified, verdict.to_lines()
    assert not (people.folder / "run" / "map.png").exists()


def test_a_public_test_file_gives_metrics(people: Organisations) -> None:
    write_scene(people.folder / "test.h5", tiny_table(pixels=90, bands=20, seed=9))
    job = public_files(replace(CONFIG, epsilon=math.inf), people.folder / "ann.h5", NAMES)
    settings = replace(people.settings, test=people.folder / "test.h5")
    metrics = people.run(job, settings).metrics
    assert metrics is not None
    assert metrics["n_test"] > 0
    assert 0 < metrics["oa"] <= 1
    assert metrics["test"] == "the coordinator's public file"


def test_a_node_whose_data_has_another_layout_refuses_and_nothing_is_spent(
    people: Organisations,
) -> None:
    write_scene(people.folder / "bob.h5", tiny_table(pixels=120, bands=21, seed=1))
    job = public_files(CONFIG, people.folder / "ann.h5", NAMES)
    with pytest.raises(ProtocolAbortedError, match="bob refused the phase prepare: layout_refused"):
        people.run(job)
    for name in NAMES:
        if people.ledger(name).exists():
            path = people.ledger(name)
            assert not parse_chain(path.read_bytes(), path).balance.reservations


def test_a_node_answers_nothing_before_it_is_prepared_and_is_prepared_once(
    people: Organisations,
) -> None:
    job, site = public_files(CONFIG, people.folder / "ann.h5", NAMES), people.sites["ann"]
    assert site.handle("plan", {"plan": b""}) == {"refused": "not_prepared"}
    assert site.handle("prepare", {"config": b"", "layout": b""}) == {"refused": "layout_refused"}
    assert site.handle("prepare", job.to_message()) == {"prepared": True}
    assert site.handle("prepare", job.to_message()) == {"refused": "already_prepared"}
    assert site.handle("ready", {}) == {"refused": "no_plan"}


def test_the_public_files_come_back_and_hold_no_path_and_no_datum(people: Organisations) -> None:
    config = replace(CONFIG, data="/home/ann/secret.h5", ledger="/home/ann/ledger")
    job = public_files(config, people.folder / "ann.h5", NAMES)
    files = job.to_files()
    assert JobFiles.from_files(files) == job
    assert b"/home/ann" not in files[CONFIG_FILE] + files[LAYOUT_FILE]
    folder = make_run_job(people.folder / "job", job)
    again = public_files(config, folder / "app" / "config" / "feddiff" / LAYOUT_FILE, NAMES)
    assert again == job
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["min_clients"] == job.threshold == 3
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == [
        "config.toml",
        "config_fed_client.json",
        "config_fed_server.json",
        "layout.json",
        "meta.json",
    ]


WRONG_LAYOUTS = [
    ("tile", 0), ("tile", True), ("tile", 65), ("classes", []), ("classes", "meadow"),
    ("classes", ["a", "a"]), ("owners", ["ann"]), ("owners", ["ann", "bob", "../x"]),
    ("owners", ["ann", "ann", "bob"]), ("version", 2), ("format", "other"), ("layout", []),
    ("more", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG_LAYOUTS)
def test_a_wrong_layout_is_refused_by_name(people: Organisations, name: str, value: object) -> None:
    files = public_files(CONFIG, people.folder / "ann.h5", NAMES).to_files()
    fields = {**json.loads(files[LAYOUT_FILE]), name: value}
    with pytest.raises((DataError, UsageError)):
        JobFiles.from_files({**files, LAYOUT_FILE: json.dumps(fields).encode()})


def test_public_files_that_are_large_edited_or_missing_are_refused(people: Organisations) -> None:
    files = public_files(CONFIG, people.folder / "ann.h5", NAMES).to_files()
    edited = files[CONFIG_FILE].replace(b"rounds = 2", b"rounds = 3")
    for wrong in (
        {**files, CONFIG_FILE: edited},
        {**files, LAYOUT_FILE: bytes(1 << 21)},
        {**files, LAYOUT_FILE: b"[" * 10**5},
        {CONFIG_FILE: files[CONFIG_FILE]},
        {**files, CONFIG_FILE: b"\xff"},
    ):
        with pytest.raises((DataError, UsageError)):
            JobFiles.from_files(wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"aggregation": "encrypted"},
        {"topology": "split", "owners": 2},
        {"profile": "paper"},
        {"prior": "mine"},
    ],
)
def test_what_one_machine_alone_can_run_is_refused_across(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        check_across(replace(RunConfig(), **change))  # type: ignore[arg-type]  # fields of three types


WRONG_SETTINGS = [
    "version = 2", 'identiti = "c.key"', "runs = 3", 'identity = ""', "plan_patience_s = 0",
    "plan_patience_s = 1.5", "plan_patience_s = true", "not toml",
]  # fmt: skip


@pytest.mark.parametrize("line", WRONG_SETTINGS)
def test_wrong_settings_of_a_coordinator_are_refused(people: Organisations, line: str) -> None:
    path = people.folder / SETTINGS_FILE
    key = line.split(" ", maxsplit=1)[0]
    kept = [one for one in path.read_text().splitlines() if not one.startswith(f"{key} ")]
    path.write_text("\n".join([line, *kept]) + "\n")
    with pytest.raises(UsageError, match=r"coordinator\.toml"):
        CoordinatorSettings.load(path)


def test_settings_that_others_may_write_and_a_key_that_is_not_pinned_are_refused(
    people: Organisations,
) -> None:
    (people.folder / SETTINGS_FILE).chmod(0o666)
    with pytest.raises(UsageError):
        CoordinatorSettings.load(people.folder / SETTINGS_FILE)
    (people.folder / SETTINGS_FILE).chmod(0o644)
    other = people.registry.put(
        COORDINATOR, IdentityKey.generate(SecureRandom()).public, replace=True
    )
    write_registry(people.folder / "registry.json", other)
    with pytest.raises(UsageError, match="does not pin coordinator"):
        people.settings.key()
    with pytest.raises(UsageError, match="eve"):
        people.settings.owners(("ann", "eve"))
