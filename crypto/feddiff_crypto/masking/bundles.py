"""What one owner entrusts to another: a share of its self-mask secret and one of its mask key."""

from __future__ import annotations

from dataclasses import dataclass, field

from feddiff_crypto.errors import ShareError
from feddiff_crypto.hybrid import SealingKey
from feddiff_crypto.keys import AgreementPublic
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.masking.mask_keys import MaskKey
from feddiff_crypto.masking.share_messages import BUNDLE_BYTES
from feddiff_crypto.randomness import RandomBytes
from feddiff_crypto.sealing import seal, unseal
from feddiff_crypto.shamir import SHARE_BYTES, Share, split


@dataclass(frozen=True, slots=True)
class Bundle:
    """Two share values at the holder's position, 33 bytes each, never shown."""

    self_share: bytes = field(repr=False)
    key_share: bytes = field(repr=False)


def split_bundles(
    self_secret: bytes, mask_key: MaskKey, roster: Roster, threshold: int, random: RandomBytes
) -> dict[str, Bundle]:
    """One bundle for each member of the roster, `threshold` of which open the two secrets."""
    xs = range(1, len(roster.parties) + 1)
    self_shares = split(self_secret, threshold, xs, random)
    key_shares = split(mask_key.raw, threshold, xs, random)
    rows = zip(roster.parties, self_shares, key_shares, strict=True)
    return {party: Bundle(own.to_bytes(), key.to_bytes()) for party, own, key in rows}


def seal_bundles(
    bundles: dict[str, Bundle], key: SealingKey, sender: str, roster: Roster, context: bytes
) -> dict[str, bytes]:
    """Each bundle sealed to its holder, the sender's own left out.

    Raises:
        KeyInvalidError: a member's sealing key is a point of low order, or no ML-KEM-768 key.
    """
    return {
        advert.party: seal(
            bundles[advert.party].self_share + bundles[advert.party].key_share,
            key=key,
            peer=advert.sealing_public,
            context=context,
            sender=sender,
            recipient=advert.party,
        )
        for advert in roster.adverts
        if advert.party != sender
    }


def open_bundle(
    sealed: bytes,
    *,
    key: SealingKey,
    sender: str,
    recipient: str,
    roster: Roster,
    context: bytes,
) -> Bundle:
    """Open what `sender` sealed to `recipient`, who holds the sealing key `key`.

    Raises:
        ShareError: `sender` is no other member, the seal is broken, or a share is out of range.
        KeyInvalidError: the sender's sealing key is a point of low order.
    """
    adverts = roster.by_party()
    if sender not in adverts or sender == recipient:
        raise ShareError("a share from no other member of the roster", party=sender)
    bundle = unseal(
        sealed,
        key=key,
        peer=AgreementPublic(adverts[sender].sealing_key),
        context=context,
        sender=sender,
        recipient=recipient,
    )
    if len(bundle) != BUNDLE_BYTES:
        raise ShareError(f"{len(bundle)} bytes of shares, expected {BUNDLE_BYTES}", party=sender)
    position = roster.parties.index(recipient) + 1
    try:
        for value in (bundle[:SHARE_BYTES], bundle[SHARE_BYTES:]):
            Share.from_bytes(position, value)  # in range, or raises
    except ShareError as error:
        raise ShareError(str(error), party=sender) from None
    return Bundle(bundle[:SHARE_BYTES], bundle[SHARE_BYTES:])
