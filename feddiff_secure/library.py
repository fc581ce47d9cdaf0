"""The library: what the four commands of everyday use do, as four functions.

    import feddiff_secure

    done = feddiff_secure.run(data="pixels.h5", epsilon=8, out="runs/first")
    print(done.oa, done.epsilon)
    feddiff_secure.predict("runs/first", "scene.h5", "map.png")
    feddiff_secure.verify("runs/first")

Everything a command writes, these write; nothing is printed. Errors are the exceptions of
`feddiff_secure.errors`, each with a `hint`. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feddiff_secure.config.load import check_keys
from feddiff_secure.config.paper import with_profile_defaults
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import (
    DataError,
    UsageError,
    VerificationError,
)
from feddiff_secure.platform_check import require_platform

if TYPE_CHECKING:
    from feddiff_secure.data.scene import Dataset
    from feddiff_secure.federation.progress import Progress

StrPath = str | Path


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run left.

    Attributes:
        directory: the finished run directory.
        metrics: the content of its `metrics.json`.
        privacy: the content of its `privacy.json`.
    """

    directory: Path
    metrics: Mapping[str, Any]
    privacy: Mapping[str, Any]

    @property
    def oa(self) -> float:
        """Overall accuracy on the test part, 0..1. Computed without noise: outside ε."""
        return float(self.metrics["oa"])

    @property
    def epsilon(self) -> float | None:
        """ε of the calibrated adversary for one tile; None where nothing is guaranteed."""
        value = self.privacy["epsilon"]
        return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class Prediction:
    """A written map.

    Attributes:
        out: its file.
        areas: share of each class of what was predicted, adding up to 1.
        accuracy: `oa`, `aa`, `kappa` and `n_test` on labelled pixels; None without labels.
    """

    out: Path
    areas: Mapping[str, float]
    accuracy: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Verification:
    """A run that verified.

    Attributes:
        steps: one sentence a step of docs/audit.md: what was checked.
        notes: the limits of the verdict, such as identities that nobody pinned.
    """

    steps: tuple[str, ...]
    notes: tuple[str, ...]


def load_scene(path: StrPath, *, require_labels: bool = True) -> Dataset:
    """Read a data file strictly, as `--data` does (docs/formats/scene.md).

    Args:
        path: the file.
        require_labels: refuse a file without labels; predicting needs none.

    Returns:
        Scenes or a table of pixels in sensor units: `modalities` by name with `values`
        (channels, H, W) or (N, channels), `label`, `classes`.

    Raises:
        DataError: missing, damaged, or not of the format; names the file and the field.
    """
    from feddiff_secure.data.read import read_dataset  # noqa: PLC0415  # reads with h5py

    return read_dataset(Path(path), require_labels=require_labels)


def run(
    config: RunConfig | None = None,
    *,
    out: StrPath,
    progress: Progress | None = None,
    **keys: Any,
) -> RunSummary:
    """Train one private model over several owners in this process, as `feddiff-secure run` does.

    Args:
        config: a whole configuration; or give its keys instead, such as `data`, `epsilon`, `owners`
            (docs/configuration.md).
        out: the run directory, new.
        progress: receives stages and steps; None for silence.
        keys: keys of the configuration; the others have their defaults.

    Returns:
        Where the run is, its metrics and its privacy statement.

    Raises:
        UsageError: a wrong key or value, both `config` and keys, profile `paper`, another engine
            than `local`, or an existing directory.
        DataError: wrong data. BudgetError: a ledger without room. In all three nothing was
            released.
        ProtocolAbortedError: a round failed; what was released is recorded in `out` + ".partial".
    """
    require_platform()
    settings = _settings(config, keys)
    # Imported here: torch takes seconds that loading and verifying need not wait for.
    from feddiff_secure.federation.progress import Silent  # noqa: PLC0415
    from feddiff_secure.report.execution import execute  # noqa: PLC0415
    from feddiff_secure.report.run_directory import RunDirectory  # noqa: PLC0415

    directory = RunDirectory(Path(out))
    metrics, privacy = execute(
        settings, directory, progress=Silent() if progress is None else progress
    )
    return RunSummary(directory.out, metrics, privacy)


def predict(run_directory: StrPath, data: StrPath, out: StrPath) -> Prediction:
    """Write a land-cover map of new data, as `feddiff-secure predict` does.

    Args:
        run_directory: of a finished run, or its model file.
        data: a file of the same sensors; a modality may be missing.
        out: a new file: `.png`, `.h5` (labels 1..K as numbers), or `.tif` where there is a CRS.

    Raises:
        UsageError: `out` exists or cannot be written so.
        DataError: a model or data file that is missing, wrong, or of other sensors.
    """
    require_platform()
    from feddiff_secure.federation.progress import Silent  # noqa: PLC0415
    from feddiff_secure.report.prediction import predict_file  # noqa: PLC0415  # loads torch

    found = predict_file(Path(run_directory), Path(data), Path(out), Silent())
    return Prediction(Path(out), found["areas"], found["accuracy"])


def verify(
    run_directory: StrPath, *, registry: StrPath | None = None, ledgers: StrPath | None = None
) -> Verification:
    """Repeat a run from its transcript, as `feddiff-secure audit verify` does (docs/audit.md).

    Args:
        run_directory: of a finished run.
        registry: file of pinned identities; None believes those in the log, which `notes` says.
        ledgers: folder of the owners' ledgers, where it is not in the run directory.

    Returns:
        What was checked. A run that does not verify is an exception, never a value.

    Raises:
        VerificationError: the first step that failed, with its evidence.
        DataError: a registry file that is missing or damaged. UsageError: no such directory.
    """
    require_platform()
    from feddiff_crypto.errors import CryptoError  # noqa: PLC0415
    from feddiff_crypto.registry_file import read_registry  # noqa: PLC0415
    from feddiff_secure.audit.verify import verify_run  # noqa: PLC0415

    directory = Path(run_directory)
    try:
        pins = None if registry is None else read_registry(Path(registry))
    except CryptoError as error:
        raise DataError(str(error), "get the registry again from whoever keeps it") from error
    verdict = verify_run(directory, pins=pins, ledgers=None if ledgers is None else Path(ledgers))
    failed = verdict.failed
    if failed is not None:
        raise VerificationError(
            f"{directory}: step {failed.number} ({failed.name}): {failed.detail}",
            "do not rely on this run; docs/audit.md says what each step means",
        )
    steps = tuple(f"{step.name}: {step.status.value}: {step.detail}" for step in verdict.steps)
    return Verification(steps, tuple(verdict.notes))


def _settings(config: RunConfig | None, keys: Mapping[str, Any]) -> RunConfig:
    if config is not None and keys:
        raise UsageError("config and keys are both given", "give one RunConfig, or its keys")
    if config is None:
        given = {name: str(v) if isinstance(v, Path) else v for name, v in keys.items()}
        given = {name: value for name, value in given.items() if value is not None}
        check_keys(given, "run")
        config = RunConfig(**with_profile_defaults(given))
    if config.profile == "paper":
        raise UsageError(
            "profile paper in the library: it is a baseline of the command line",
            "use feddiff-secure run --profile paper",
        )
    if config.engine != "local":
        raise UsageError(
            f"engine {config.engine} in the library: it runs owners in this process",
            f"use feddiff-secure run --engine {config.engine}",
        )
    return config
