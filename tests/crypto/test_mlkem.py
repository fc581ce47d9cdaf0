"""ML-KEM-768: a published vector, hostile keys and ciphertexts, and machines that lack it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.exceptions import UnsupportedAlgorithm, _Reasons
from cryptography.hazmat.primitives.asymmetric import mlkem

import feddiff_crypto
from feddiff_crypto.errors import HybridUnavailableError, KeyInvalidError, ShareError
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.mlkem import KemKey, KemPublic, require_mlkem
from feddiff_crypto.randomness import SecureRandom
from tests.adversaries.masking_owners import rostered
from tests.crypto.test_masking_round import make_round, plain_sum

RANDOM = SecureRandom()
FILE = Path(feddiff_crypto.__file__).parent / "vectors" / "mlkem.json"


def lacking(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A machine without ML-KEM-768: an old `cryptography`, or an old library under it."""
    if how == "no module":
        monkeypatch.setitem(sys.modules, mlkem.__name__, None)
        monkeypatch.delattr("cryptography.hazmat.primitives.asymmetric.mlkem")
        return

    def refuse(_raw: bytes) -> Any:
        raise UnsupportedAlgorithm("not here", _Reasons.UNSUPPORTED_PUBLIC_KEY_ALGORITHM)

    monkeypatch.setattr(mlkem.MLKEM768PrivateKey, "from_seed_bytes", refuse)
    monkeypatch.setattr(mlkem.MLKEM768PublicKey, "from_public_bytes", refuse)


def test_the_published_seed_gives_the_published_key_and_secret() -> None:
    """From Project Wycheproof: the key of a seed (FIPS 203), and an implicit rejection under it."""
    (vector,) = json.loads(FILE.read_text(encoding="utf-8"))["vectors"]
    key = KemKey(bytes.fromhex(vector["seed"]))
    assert key.public.raw.hex() == vector["public_key"]
    assert key.decapsulate(bytes.fromhex(vector["ciphertext"])).hex() == vector["secret"]


def test_the_holder_of_the_key_gets_the_encapsulated_secret_and_each_is_fresh() -> None:
    key = KemKey.generate(RANDOM)
    first, second = key.public.encapsulate(), key.public.encapsulate()
    assert key.decapsulate(first.ciphertext) == first.secret != second.secret
    assert (len(first.secret), len(first.ciphertext)) == (32, 1088)


def test_a_ciphertext_for_another_key_gives_a_secret_that_nobody_else_has() -> None:
    key, other = KemKey.generate(RANDOM), KemKey.generate(RANDOM)
    made = key.public.encapsulate()
    assert other.decapsulate(made.ciphertext) != made.secret


def test_a_public_key_with_a_coefficient_beyond_the_modulus_is_refused() -> None:
    """FIPS 203, section 7.2: 0xfff is no coefficient modulo 3329."""
    good = KemKey.generate(RANDOM).public.raw
    with pytest.raises(KeyInvalidError, match="out of range"):
        KemPublic(b"\xff" * 3 + good[3:]).encapsulate()


@pytest.mark.parametrize("length", [0, 1087, 1089])
def test_a_ciphertext_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ShareError, match=f"{length} bytes, expected 1088"):
        KemKey.generate(RANDOM).decapsulate(bytes(length))


def test_keys_of_another_length_are_a_callers_mistake_and_seeds_are_not_shown() -> None:
    for make, length in ((KemKey, 63), (KemPublic, 1183)):
        with pytest.raises(ValueError, match=f"{length} bytes"):
            make(bytes(length))
    assert repr(KemKey(b"s" * 64)) == "KemKey()"


@pytest.mark.parametrize("how", ["no module", "old library"])
def test_without_mlkem_the_hybrid_is_refused_by_name_and_the_default_works(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    key, public = KemKey(bytes(64)), KemKey.generate(RANDOM).public
    lacking(monkeypatch, how)
    for use in (
        require_mlkem,
        public.encapsulate,
        lambda: key.public,
        lambda: key.decapsulate(bytes(1088)),
        lambda: rostered(KeyAgreement.HYBRID),
    ):
        with pytest.raises(HybridUnavailableError):
            use()
    attempt = make_round(3)
    result = attempt.run()
    np.testing.assert_array_equal(result.total, plain_sum(attempt, result.survivors))
