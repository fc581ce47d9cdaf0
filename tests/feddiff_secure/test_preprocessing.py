"""A private run refuses what was made with private data, and says why."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from feddiff_privacy.events import NoisedSum
from feddiff_privacy.provenance import (
    Private,
    ProvenanceError,
    Public,
    Simulated,
    Step,
    Unproven,
    parse_provenance,
    require_provenance,
)
from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.layout import ModalityLayout, SensorLayout
from feddiff_secure.federation.preprocessing import check_preprocessing, preprocessing
from feddiff_secure.model.psi import FeatureMap

RELEASE = NoisedSum("pretrain", 100, 0.1, "poisson", 1000.0, 4000.0, 50)
DP = f"dp {json.dumps([RELEASE.to_json()])}"
LAYOUT = SensorLayout((ModalityLayout("hsi", ("a", "b"), (500.0, 600.0)),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("public Houston 2013 contest data", Public("Houston 2013 contest data")),
        ("simulated hsi, seed 1", Simulated("hsi, seed 1")),
        (DP, Private((RELEASE,))),
    ],
)
def test_a_provenance_line_is_read(text: str, expected: object) -> None:
    assert parse_provenance(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "public",
        "simulated ",
        "trained on all owners' tiles",
        "publicly available",
        "dp",
        "dp []",
        "dp epsilon 3, trust me",
        'dp [{"kind":"noised_sum/9"}]',
        "dp [1]",
        "dp " + "[" * 5000,
        "public " + "x" * 70_000,
    ],
)
def test_anything_else_is_unproven_and_refused_with_the_reason(text: str) -> None:
    step = Step("hsi branch", parse_provenance(text))
    assert isinstance(step.provenance, Unproven)
    with pytest.raises(ProvenanceError, match="hsi branch has no public"):
        require_provenance([Step("scaling", Public("constants")), step])


def test_data_dependent_scaling_is_refused() -> None:
    step = Step("scaling of hsi", Unproven("standardised by the mean of the owner's own tiles"))
    with pytest.raises(ProvenanceError, match=r"scaling of hsi.*mean of the owner's own tiles"):
        require_provenance([step])


def test_what_a_private_encoder_spent_is_handed_back_to_be_composed() -> None:
    steps = [
        Step("a", parse_provenance(DP)),
        Step("b", Public("x")),
        Step("c", Private((RELEASE,))),
    ]
    assert require_provenance(steps) == [RELEASE, RELEASE]


def test_the_shipped_networks_are_simulated_and_scalings_constant() -> None:
    networks = FeatureMap.public(LAYOUT, tile=1).networks
    steps = preprocessing(LAYOUT, networks)
    assert [type(step.provenance) for step in steps] == [Public, Simulated, Simulated]
    assert [step.name.rsplit(" ", 1)[0] for step in steps[1:]] == ["hsi branch", "hsi embedding"]
    check_preprocessing(RunConfig(), LAYOUT, networks)


@pytest.mark.parametrize(("text", "word"), [("trained on Houston", "provenance"), (DP, "compose")])
def test_a_run_refuses_an_encoder_before_anything_is_released(
    text: str,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    original = FeatureMap.public

    def spoiled(*args: object, **kwargs: object) -> FeatureMap:
        features = original(*args, **kwargs)  # type: ignore[arg-type]
        priors = {
            name: dataclasses.replace(prior, provenance=text)
            for name, prior in features.priors.items()
        }
        return dataclasses.replace(features, priors=priors)

    monkeypatch.setattr(FeatureMap, "public", staticmethod(spoiled))

    code = run_cli(["run", "--out", str(tmp_path / "r"), "--quiet"])
    assert code == 2
    assert word in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
