"""Secure bytes are never repeated: not over keys, forks or copies."""

from __future__ import annotations

import copy
import os
import pickle

import numpy as np
import pytest
from scipy.stats import chi2

from feddiff_crypto import randomness
from feddiff_crypto.randomness import SecureRandom, VectorRandom


def test_two_generators_never_agree() -> None:
    assert SecureRandom().random_bytes(32) != SecureRandom().random_bytes(32)


@pytest.mark.parametrize("count", [0, 1, 17, 2**20, 2**20 + 1, 3 * 2**20 + 5])
def test_it_makes_as_many_bytes_as_asked(count: int) -> None:
    assert len(SecureRandom().random_bytes(count)) == count
    assert len(VectorRandom(b"s").random_bytes(count)) == count


def test_a_negative_count_is_refused() -> None:
    for random in (SecureRandom(), VectorRandom(b"s")):
        with pytest.raises(ValueError, match="-1"):
            random.random_bytes(-1)


def test_its_bytes_are_uniform() -> None:
    counts = np.bincount(np.frombuffer(SecureRandom().random_bytes(2**20), np.uint8), minlength=256)
    statistic = float(((counts - 4096.0) ** 2 / 4096.0).sum())
    assert chi2.sf(statistic, 255) > 1e-6


def test_a_new_key_is_drawn_before_the_old_one_has_made_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys: list[bytes] = []

    def record(count: int) -> bytes:
        keys.append(bytes([len(keys)]) * count)
        return keys[-1]

    monkeypatch.setattr(randomness, "_REKEY_BYTES", 100)
    monkeypatch.setattr(os, "urandom", record)
    random = SecureRandom()
    blocks = {random.random_bytes(60) for _ in range(3)}
    assert len(keys) == 3
    assert len(blocks) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_repeat_its_parents_bytes() -> None:
    random = SecureRandom()
    random.random_bytes(1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, random.random_bytes(32))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 32) != random.random_bytes(32)
    os.close(read)
    os.close(write)


def test_it_cannot_be_copied_or_serialised() -> None:
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="never copied"):
            duplicate(SecureRandom())


def test_vector_bytes_follow_from_their_seed_alone() -> None:
    whole = VectorRandom(b"seed").random_bytes(64)
    parts = VectorRandom(b"seed")
    assert parts.random_bytes(10) + parts.random_bytes(54) == whole
    assert VectorRandom(b"other").random_bytes(64) != whole
