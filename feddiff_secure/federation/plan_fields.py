"""The fields of a plan as they arrive from elsewhere: types and ranges, checked one by one.

What the numbers mean together is the business of `plan_check`; here a plan that is not even made
of the right things is refused before any of its numbers is computed with.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from feddiff_crypto.fixedpoint import RING_BITS
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import is_party_name
from feddiff_crypto.masking.policy import MAX_OWNERS
from feddiff_secure.aggregation.adapting import MOST_SIZE
from feddiff_secure.config.bounds import MOST_SPARE
from feddiff_secure.config.holds import HELD

MOST_TILE = 64
MOST_CLASSES = 255
MOST_FEATURES = 1 << 20
MOST_COORDINATES = 1 << 24
MOST_ROUNDS = 10_000
MOST_TILES = 10**8
MOST_BLOCKS = 64

Check = Callable[[object], bool]


def _integer(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Check:
    # Canonical JSON writes 1.0 as 1, so an integer is a number too; a bool is not.
    def check(value: object) -> bool:
        if type(value) is int or type(value) is float:
            return math.isfinite(value) and low <= value <= high
        return False

    return check


def _one_of(*allowed: str) -> Check:
    return lambda value: value in allowed


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _hex(digits: int) -> Check:
    return lambda value: (
        isinstance(value, str)
        and len(value) == digits
        and all(c in "0123456789abcdef" for c in value)
    )


def _owners(value: object) -> bool:
    return (
        isinstance(value, list)
        and 2 <= len(value) <= MAX_OWNERS
        and all(isinstance(name, str) and is_party_name(name) for name in value)
        and sorted(set(value)) == value
    )


def _holds(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(w, str) and w in HELD for w in value)


_BLOCK: dict[str, Check] = {
    "modality": _one_of("hsi", "lidar"),
    "columns": _integer(1, MOST_FEATURES),
    "share": _number(1e-9, 1),
    "constant": lambda value: type(value) is bool,
}


def _blocks(value: object) -> bool:
    return (
        isinstance(value, list)
        and 2 <= len(value) <= MOST_BLOCKS
        and all(
            isinstance(block, dict)
            and set(block) == set(_BLOCK)
            and all(check(block[name]) for name, check in _BLOCK.items())
            for block in value
        )
    )


_PRIOR: dict[str, Check] = {
    "size": _integer(1, MOST_SIZE),
    "rounds": _integer(1, MOST_ROUNDS),
    "clip": _number(1e-6, 1e6),
    "share_std": _number(0, 2.0**29),
}


def _prior(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(_PRIOR)
        and all(check(value[name]) for name, check in _PRIOR.items())
    )


FIELDS: dict[str, Check] = {
    "session": _hex(32),
    "config_digest": _hex(64),
    "owners": _owners,
    "topology": _one_of("paired", "mixed", "split"),
    "holds": _or_none(_holds),
    "hsi_features": _or_none(_integer(1, MOST_FEATURES)),
    "dropouts": _integer(0, MAX_OWNERS),
    "colluders": _integer(0, MAX_OWNERS),
    "aggregation": _one_of("masked", "encrypted", "plain"),
    "custodian": _or_none(lambda value: isinstance(value, str) and is_party_name(value)),
    "key_agreement": _one_of(*KeyAgreement),
    "rounding": _one_of("nearest", "stochastic"),
    "ring_bits": lambda value: type(value) is int and value in RING_BITS,
    "noise": _one_of("distributed", "local", "none"),
    "mechanism": _one_of("discrete_gaussian", "skellam"),
    "epsilon": _or_none(_number(1e-3, 1e3)),
    "delta": _number(1e-300, 1 - 1e-9),
    "tile": _integer(1, MOST_TILE),
    "classes": _integer(1, MOST_CLASSES),
    "features": _integer(1, MOST_FEATURES),
    "rounds": _integer(1, MOST_ROUNDS),
    "attempts": _integer(1, MOST_ROUNDS + MOST_SPARE),
    "sampling_rate": _number(1e-6, 1),
    "clip": _number(1e-6, 1e6),
    "scale": _number(1e-6, 1e12),
    "noise_multiplier": _number(0, 1e9),
    "train_share_std": _number(0, 2.0**29),
    "count_share_std": _or_none(_number(0, 2.0**29)),
    "mean_share_std": _or_none(_number(0, 2.0**29)),
    "class_share_std": _or_none(_number(0, 2.0**29)),
    "nominal_tiles": _or_none(_integer(1, MOST_TILES)),
    "blocks": _or_none(_blocks),
    "prior": _or_none(_prior),
}


def check_fields(fields: object) -> None:
    """Refuse anything but a JSON object with exactly the known fields, each in its range.

    Raises:
        ValueError: naming the field.
    """
    if not isinstance(fields, dict) or set(fields) != set(FIELDS):
        raise ValueError("not a plan: its fields differ")
    for name, check in FIELDS.items():
        if not check(fields[name]):
            raise ValueError(f"not a plan: {name} is {str(fields[name])[:60]!r}")
    if fields["classes"] * fields["features"] > MOST_COORDINATES:
        raise ValueError(f"not a plan: more than {MOST_COORDINATES} coordinates")
