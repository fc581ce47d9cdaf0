"""The statement says one thing in three forms, and says "none" rather than leaving a cell out."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from feddiff_privacy.card import TO_BE_COMPLETED, deployment_card
from feddiff_privacy.events import NoisedSum, SkellamSum
from feddiff_privacy.statement import (
    AdversaryRow,
    CrossCheck,
    DataAccess,
    GroupRow,
    PhaseSampling,
    Statement,
)

NAMES = (
    "outsider",
    "coordinator",
    "curious_owner",
    "coordinator_and_colluders",
    "masks_broken",
)


def statement(**changes: Any) -> Statement:
    fields: dict[str, Any] = {
        "deployment": "simulated",
        "epsilon_target": 8.0,
        "epsilon": 7.99,
        "delta": 1e-5,
        "unit": "tile",
        "tile": 4,
        "mechanism": "Noise is added.",
        "noise": "distributed",
        "aggregation": "masked",
        "noise_multiplier": 4.7,
        "sampling_rate": 1.0,
        "rounds": 60,
        "owners": 4,
        "threshold": 4,
        "honest_shares": 3,
        "colluders": 1,
        "dropouts": 0,
        "phases": [NoisedSum("train", 60, 1.0, "full_batch", 1000.0, 2700.0, 24)],
        "cross_check": CrossCheck("opacus-prv", 8.0, 0.01, True),
        "adversaries": [
            AdversaryRow(name, 7.0 + i + 0.99 * (i == 0), 19.0 + i, f"assumes {name}")
            for i, name in enumerate(NAMES)
        ],
        "calibrated_row": "coordinator_and_colluders",
        "support": "pixel",
        "groups": [GroupRow(2, 19.0, 40.5), GroupRow(4, 50.25, math.inf)],
        "sampling": [PhaseSampling("train", "full_batch at rate 1", "every tile")],
        "data_accesses": [
            DataAccess("gradients", True, "phase train"),
            DataAccess("test metrics", False, "stay with the owner"),
        ],
        "random_source": "AES-256-CTR",
        "libraries": {"dp-accounting": "0.6"},
        "gaps": {"range of the sampler": 1e-48},
        "assumptions": ["Owners run this code."],
        "not_covered": ["Honest inputs."],
        "code_version": "0.1.0",
    }
    return Statement(**{**fields, **changes})


def table(text: str, heading: str) -> list[list[str]]:
    lines = text.split(f"## {heading}")[1].split("\n## ", maxsplit=1)[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return rows[1:]


def test_every_adversary_has_every_unit_and_adjacency_in_one_table() -> None:
    made = statement()
    rows = table(made.to_markdown(), "Who could learn how much")
    assert [row[0] for row in rows] == [f"{name} (hypothetical)" for name in NAMES]
    for row, found in zip(rows, made.to_json()["adversaries"], strict=True):
        units = found["units"]
        assert row[1:] == [
            f"{units['tile']['add_remove']:.4g}",
            f"{units['tile']['replace_one']:.4g}",
            f"{units['record']['replace_one']:.4g}",
            f"{units['pixel']['replace_one']:.4g}",
        ]
        assert set(units) == {"tile", "record", "pixel"}
        assert all(set(unit) == {"add_remove", "replace_one"} for unit in units.values())
        assert found["assumption"] in made.to_markdown()


def test_a_record_or_pixel_is_never_claimed_below_the_replaced_tile() -> None:
    """Adding a record to a tile that exists replaces the tile; it does not add one."""
    for row in statement().to_json()["adversaries"]:
        for unit in ("record", "pixel"):
            assert set(row["units"][unit].values()) == {row["epsilon_replace_one"]}
            assert row["epsilon_replace_one"] >= row["epsilon"]


def test_no_pixel_is_claimed_where_features_came_from_a_neighbourhood() -> None:
    made = statement(support="neighbourhood")
    for row in made.to_json()["adversaries"]:
        assert row["units"]["pixel"] == {"add_remove": None, "replace_one": None}
    assert made.to_json()["levels"]["pixel"] is None
    assert all(
        row[4] == "not claimed" for row in table(made.to_markdown(), "Who could learn how much")
    )


def test_what_is_not_guaranteed_is_none_and_null_and_never_left_out() -> None:
    rows = [AdversaryRow(name, math.inf, math.inf, "no noise") for name in NAMES]
    made = statement(epsilon_target=None, epsilon=math.inf, adversaries=rows, cross_check=None)
    assert "No privacy guarantee" in made.to_markdown()
    for row in made.to_json()["adversaries"]:
        assert row["epsilon"] is None
        assert row["units"]["tile"] == {"add_remove": None, "replace_one": None}
    for cells in table(made.to_markdown(), "Who could learn how much"):
        assert cells[1:] == ["none"] * 4
    assert json.dumps(made.to_json(), allow_nan=False)
    assert json.dumps(deployment_card(made), allow_nan=False)


def test_the_text_says_what_the_object_says() -> None:
    made = statement()
    text, data = made.to_markdown(), made.to_json()
    assert table(text, "Ground in several tiles") == [["2", "19", "40.5"], ["4", "50.25", "none"]]
    assert data["groups"][1] == {"tiles": 4, "epsilon": 50.25, "epsilon_replace_one": None}
    assert table(text, "What read the data") == [
        ["gradients", "yes", "phase train"],
        ["test metrics", "**no**", "stay with the owner"],
    ]
    for words in ("accounted as full_batch at rate 1; executed as every tile", "AES-256-CTR"):
        assert words in text
    assert "dp-accounting 0.6" in text
    assert "Code version 0.1.0" in text
    assert "DISAGREES" not in text
    wrong = CrossCheck("opacus-prv", 6.0, -1.99, False)
    assert "DISAGREES" in statement(cross_check=wrong).to_markdown()


def test_a_noise_without_a_second_accountant_says_so() -> None:
    event = SkellamSum("train", 60, 1.0, "full_batch", 1000.0, 2700.0, 24, 4800.0)
    made = statement(phases=[event], cross_check=None, accountant="renyi bound of Skellam")
    assert "renyi bound of Skellam; no second accountant" in made.to_markdown()
    assert made.to_json()["accountant"] == "renyi bound of Skellam"
    assert made.to_json()["phases"][0]["sensitivity_l1"] == 4800.0


@pytest.mark.parametrize("noise", ["distributed", "local"])
def test_the_card_holds_the_registrys_tiers_and_the_statements_numbers(noise: str) -> None:
    made = statement(noise=noise)
    card = deployment_card(made)
    assert [key for key in card if key.startswith("tier")] == ["tier_1", "tier_2", "tier_3"]
    assert card["to_be_completed"] == list(TO_BE_COMPLETED)
    assert all(card["tier_1"][name] is None for name in TO_BE_COMPLETED)
    assert card["tier_2"]["privacy_loss"]["epsilon"] == made.epsilon
    assert card["tier_2"]["privacy_loss"]["levels"] == made.levels
    assert card["tier_2"]["deployment_model"]["model"] == noise
    assert card["tier_3"]["unprotected_quantities"] == ["test metrics"]
    assert card["tier_3"]["accounting"]["releases"] == 60
    assert re.fullmatch(r"feddiff-secure \S+", card["tier_3"]["implementation"]["software"])
