"""Rounds with hybrid key agreement: the same sums, whoever drops out, masked and encrypted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.errors import ShareError, ThresholdError
from feddiff_crypto.he.messages import sum_digest
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import AgreementKey
from feddiff_crypto.masking.mask_keys import HybridMaskKey
from feddiff_crypto.masking.share_messages import CONTRIBUTION_BYTES, HYBRID_SEALED_BYTES
from feddiff_crypto.sealing import unseal
from tests.adversaries.masking_owners import NAMES as FOUR
from tests.adversaries.masking_owners import shared
from tests.crypto import test_he_round as he
from tests.crypto.test_masking_round import NAMES, NEVER, make_round, plain_sum

HYBRID = KeyAgreement.HYBRID


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("n", [2, 3, 12])
def test_the_unmasked_result_is_the_plain_modular_sum_bit_for_bit(n: int, bits: int) -> None:
    attempt = make_round(n, bits=bits, agreement=HYBRID)
    result = attempt.run()
    np.testing.assert_array_equal(result.total, plain_sum(attempt, result.survivors))


@pytest.mark.parametrize("late", [(0,), (4,), (2,), (0, 4), (1, 2)])
def test_who_drops_out_before_masking_is_recovered_at_either_end_of_the_names(
    late: tuple[int, ...],
) -> None:
    """As the lower of a pair its contribution is derived again; as the higher it is opened."""
    drops = {NAMES[i]: 2 for i in late}
    attempt = make_round(7, dropouts=2, drops=drops, agreement=HYBRID)
    result = attempt.run()
    np.testing.assert_array_equal(result.total, plain_sum(attempt, result.survivors))
    assert set(result.revealed.mask_keys) == set(drops)
    for dropped in drops:
        below = {name for name in result.survivors if name < dropped}
        assert result.contributions[dropped].keys() == below


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_dropouts_in_any_phase_leave_the_survivors_sum_or_an_abort(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 8), "n")
    dropouts = data.draw(st.integers(0, n - 1), "d")
    drops = {
        name: data.draw(st.sampled_from([NEVER] * 9 + list(range(NEVER)))) for name in NAMES[:n]
    }
    attempt = make_round(n, size=7, dropouts=dropouts, drops=drops, agreement=HYBRID)
    alive = [sum(drop > phase for drop in drops.values()) for phase in range(NEVER)]
    if min(alive) < attempt.policy.threshold:
        with pytest.raises(ThresholdError):
            attempt.run()
        return
    result = attempt.run()
    assert result.survivors == tuple(name for name in NAMES[:n] if drops[name] > 2)
    np.testing.assert_array_equal(result.total, plain_sum(attempt, result.survivors))


@given(st.booleans(), st.sets(st.integers(0, 5), max_size=1), st.sampled_from([2, 3, 5]))
@settings(max_examples=8, deadline=None)
def test_an_encrypted_round_gives_every_owner_the_same_sum(
    custody: bool, absent: set[int], phase: int
) -> None:
    drops = {he.NAMES[i]: phase for i in absent}
    play = he.EncryptedPlay(6, 1, custody, size=5, drops=drops, agreement=HYBRID)
    result = play.run()
    survivors = tuple(name for name in play.names if drops.get(name, NEVER) > 2)
    expected = he.modular_sum(play, survivors)
    assert result.digest == sum_digest(expected, result.opened.context)
    assert len(play.totals) >= 5
    for total in play.totals.values():
        np.testing.assert_array_equal(total, expected)


def test_what_recovers_a_dropped_owner_opens_no_share_sealed_to_it() -> None:
    """All that its mask secret leads to is not what shares were sealed to."""
    owners, roster, context, delivered = shared(HYBRID)
    secrets = owners.states["cy"]._held.secrets
    opened = HybridMaskKey.derive(secrets.mask_key.raw, "cy", roster.context)
    assert opened == secrets.mask_key
    advert = roster.by_party()["cy"]
    assert opened.agreement.public.raw == advert.mask_key != advert.sealing_key
    assert opened.kem.public.raw == advert.kem_mask_key != advert.kem_sealing_key
    sealed = delivered["cy"].sealed["ann"]
    peer = AgreementKey(owners.states["ann"]._held.secrets.sealing_key.agreement.raw).public
    names: dict[str, Any] = {"context": context, "sender": "ann", "recipient": "cy"}
    for agreement in (opened.agreement, secrets.sealing_key.agreement):
        for kem in (opened.kem, secrets.sealing_key.kem):
            key = type(secrets.sealing_key)(agreement, kem)
            if (agreement, kem) == (secrets.sealing_key.agreement, secrets.sealing_key.kem):
                assert unseal(sealed, key=key, peer=peer, **names)
                continue
            with pytest.raises(ShareError, match="does not open"):
                unseal(sealed, key=key, peer=peer, **names)


def test_a_hybrid_message_is_longer_by_what_the_page_says() -> None:
    _, roster, _, delivered = shared(HYBRID)
    assert {len(a.kem_mask_key) for a in roster.adverts} == {1184}
    assert {len(row) for row in delivered["dee"].sealed.values()} == {HYBRID_SEALED_BYTES} == {1170}
    contributions = delivered["dee"].contributions
    assert contributions is not None
    assert contributions.keys() == set(FOUR[:3])
    assert {len(row) for row in contributions.values()} == {CONTRIBUTION_BYTES} == {1200}
    assert delivered["ann"].contributions == {}
