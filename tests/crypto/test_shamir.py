"""Secret sharing: t shares open, t − 1 say nothing, wrong ones are refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.errors import ShareError
from feddiff_crypto.randomness import VectorRandom
from feddiff_crypto.shamir import PRIME, Share, combine, split

SECRETS = st.binary(min_size=32, max_size=32)


def test_the_modulus_is_prime() -> None:
    odd, twos = PRIME - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in range(2, 60):  # Miller–Rabin
        power = pow(base, odd, PRIME)
        chain = [power := power * power % PRIME if i else power for i in range(twos)]
        assert chain[0] == 1 or PRIME - 1 in chain


@given(SECRETS, st.integers(1, 12), st.integers(0, 12), st.binary(max_size=8), st.randoms())
@settings(max_examples=60)
def test_any_threshold_of_shares_opens_the_secret(
    secret: bytes, threshold: int, more: int, seed: bytes, order: object
) -> None:
    shares = split(secret, threshold, range(1, threshold + more + 1), VectorRandom(seed))
    order.shuffle(shares)  # type: ignore[attr-defined]  # a random.Random of hypothesis
    assert combine(shares[:threshold], threshold) == secret


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_the_largest_and_smallest_secrets_fit(secret: bytes) -> None:
    shares = split(secret, 3, [1, 2, 3, 4], VectorRandom(b""))
    for chosen in itertools.combinations(shares, 3):
        assert combine(chosen, 3) == secret


def test_fewer_shares_are_consistent_with_every_secret() -> None:
    """Two of three shares and any secret lie on one polynomial: they exclude nothing."""
    known = split(b"s" * 32, 3, [1, 2, 3], VectorRandom(b""))[:2]
    for other in (bytes(32), b"\xff" * 32):
        origin = int.from_bytes(other, "big")
        # The parabola through (0, origin) and both shares, at x = 3: f0 − 3 f1 + 3 f2.
        third = Share(3, (origin - 3 * known[0].y + 3 * known[1].y) % PRIME)
        assert combine([*known, third], 3) == other


def test_sharing_twice_gives_different_shares() -> None:
    random = VectorRandom(b"")
    first, second = (split(bytes(32), 2, [1, 2], random) for _ in range(2))
    assert first[0] != second[0]


def test_wrong_sets_of_shares_are_refused() -> None:
    shares = split(b"s" * 32, 3, [1, 2, 3, 4], VectorRandom(b""))
    for chosen, reason in (
        (shares[:2], "2 shares"),
        (shares, "4 shares"),
        ([shares[0], shares[0], shares[1]], "repeated"),
        ([shares[0], Share(1, 5), shares[1]], "repeated"),
    ):
        with pytest.raises(ShareError, match=reason):
            combine(chosen, 3)


def test_a_changed_share_never_opens_the_secret() -> None:
    shares = split(b"s" * 32, 2, [1, 2], VectorRandom(b""))
    for delta in (1, PRIME // 2, PRIME - 1):
        try:
            opened = combine([shares[0], Share(2, (shares[1].y + delta) % PRIME)], 2)
        except ShareError:
            continue
        assert opened != b"s" * 32


def test_shares_out_of_range_are_refused() -> None:
    for x, y in ((0, 1), (-1, 1), (2**16 + 1, 1), (1, -1), (1, PRIME)):
        with pytest.raises(ShareError):
            Share(x, y)
    for raw in (bytes(32), bytes(34), PRIME.to_bytes(33, "big"), b"\xff" * 33):
        with pytest.raises(ShareError):
            Share.from_bytes(1, raw)
    last = Share(1, PRIME - 1)
    assert Share.from_bytes(1, last.to_bytes()) == last
    assert str(PRIME - 1) not in repr(last)


def test_positions_and_thresholds_out_of_range_are_the_callers_bug() -> None:
    for threshold, xs in ((2, [1]), (0, [1]), (1, [0]), (1, [1, 1]), (1, [2**16 + 1])):
        with pytest.raises(ValueError, match=r"threshold|positions"):
            split(bytes(32), threshold, xs, VectorRandom(b""))
    with pytest.raises(ValueError, match="31 bytes"):
        split(bytes(31), 1, [1], VectorRandom(b""))
