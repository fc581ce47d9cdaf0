"""Identity and agreement keys, derivation labels, and sealed shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac

from feddiff_crypto import keys
from feddiff_crypto.errors import (
    CryptoError,
    KeyInvalidError,
    RosterError,
    ShareError,
    SignatureInvalidError,
)
from feddiff_crypto.keys import (
    ADVERTISE_LABEL,
    CONSISTENCY_LABEL,
    AgreementKey,
    AgreementPublic,
    IdentityKey,
    IdentityPublic,
    Registry,
    derive,
    is_party_name,
)
from feddiff_crypto.randomness import VectorRandom
from feddiff_crypto.registry_file import RegistryFile, parse_registry
from feddiff_crypto.sealing import TAG_BYTES, seal, unseal

RANDOM = VectorRandom(b"keys")
ALICE, BOB, EVE = (AgreementKey.generate(RANDOM) for _ in range(3))
IDENTITY = IdentityKey.generate(RANDOM)
LABELS = [value for name, value in vars(keys).items() if name.endswith("_LABEL")]
# RFC 7748 section 6.1 and the curve's points of order 1, 2, 4 and 8 (RFC 7748's curve, section 7).
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 by hand: extract with a zero salt, expand one block."""

    def mac(key: bytes, data: bytes) -> bytes:
        h = hmac.HMAC(key, hashes.SHA256())
        h.update(data)
        return h.finalize()

    return mac(mac(bytes(32), secret), info + b"\x01")


def test_derivation_is_hkdf_over_label_and_context() -> None:
    assert derive(b"secret", b"label", b"context") == hkdf(b"secret", b"label\x00context")


def test_each_purpose_has_its_own_label() -> None:
    assert len(LABELS) >= 6
    assert len(set(LABELS)) == len(LABELS)
    assert all(label.startswith(b"feddiff-secure v1 ") and b"\x00" not in label for label in LABELS)
    assert len({derive(bytes(32), label, b"") for label in LABELS}) == len(LABELS)


def test_both_sides_agree_and_a_third_does_not() -> None:
    shared = ALICE.agree(BOB.public, b"label", b"context")
    assert shared == BOB.agree(ALICE.public, b"label", b"context")
    assert shared != EVE.agree(ALICE.public, b"label", b"context")
    assert shared != ALICE.agree(BOB.public, b"label", b"another context")
    assert shared != ALICE.agree(BOB.public, b"another label", b"context")


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_point_of_low_order_is_refused(point: bytes) -> None:
    with pytest.raises(KeyInvalidError, match="low order"):
        ALICE.agree(AgreementPublic(point), b"label", b"")


def test_a_signature_holds_for_its_label_and_digest_only() -> None:
    signature = IDENTITY.sign(CONSISTENCY_LABEL, b"digest")
    IDENTITY.public.verify(signature, CONSISTENCY_LABEL, b"digest")
    other = IdentityKey.generate(RANDOM).public
    for identity, label, digest, forged in (
        (IDENTITY.public, ADVERTISE_LABEL, b"digest", signature),
        (IDENTITY.public, CONSISTENCY_LABEL, b"other", signature),
        (other, CONSISTENCY_LABEL, b"digest", signature),
        (IDENTITY.public, CONSISTENCY_LABEL, b"digest", bytes([signature[0] ^ 1]) + signature[1:]),
        (IDENTITY.public, CONSISTENCY_LABEL, b"digest", b""),
        (IdentityPublic(b"\xff" * 32), CONSISTENCY_LABEL, b"digest", signature),
    ):
        with pytest.raises(SignatureInvalidError):
            identity.verify(forged, label, digest)


@pytest.mark.parametrize("label", [b"", b"label", b"DSSEv1 ", ADVERTISE_LABEL + b"\x00"])
def test_a_label_that_could_be_another_kind_of_message_is_refused(label: bytes) -> None:
    with pytest.raises(ValueError, match="label"):
        IDENTITY.sign(label, b"digest")
    with pytest.raises(ValueError, match="label"):
        IDENTITY.public.verify(bytes(64), label, b"digest")


def test_the_registry_names_the_party_whose_signature_fails() -> None:
    registry = Registry({"ann": IDENTITY.public})
    registry.verify("ann", IDENTITY.sign(ADVERTISE_LABEL, b"d"), ADVERTISE_LABEL, b"d")
    with pytest.raises(SignatureInvalidError, match="ann") as caught:
        registry.verify("ann", bytes(64), ADVERTISE_LABEL, b"d")
    assert caught.value.party == "ann"
    with pytest.raises(RosterError, match="bob"):
        registry.verify("bob", bytes(64), ADVERTISE_LABEL, b"d")


def test_a_registry_stays_as_it_was_pinned() -> None:
    source = {"ann": IDENTITY.public}
    registry = Registry(source)
    source["eve"] = IdentityKey.generate(RANDOM).public
    assert registry.parties == ("ann",)


@pytest.mark.parametrize(
    "identities",
    [{}, {"": IDENTITY.public}, {"a\nb": IDENTITY.public}, dict.fromkeys("ab", IDENTITY.public)],
)
def test_a_meaningless_registry_is_the_callers_bug(identities: dict[str, IdentityPublic]) -> None:
    with pytest.raises(ValueError, match=r"party|two names"):
        Registry(identities)


def test_party_names_are_plain_words() -> None:
    assert all(map(is_party_name, ("a", "owner-1", "Org.2_x", "9", "a" * 64)))
    bad = ("", "-a", ".", "a b", "a\n", "a/b", "é", "a" * 65, "٣")
    assert not any(map(is_party_name, bad))


def test_fingerprints_are_for_people_and_differ() -> None:
    fingerprint = IDENTITY.public.fingerprint
    assert len(fingerprint.split(" ")) == 8
    assert fingerprint != IdentityKey.generate(RANDOM).public.fingerprint


def test_private_keys_do_not_show_themselves() -> None:
    for key in (IDENTITY, ALICE):
        assert key.raw.hex() not in repr(key)
        assert repr(key.raw) not in repr(key)


@pytest.mark.parametrize("kind", [IdentityKey, IdentityPublic, AgreementKey, AgreementPublic])
def test_keys_have_32_bytes(kind: Callable[[bytes], Any]) -> None:
    for length in (0, 31, 33):
        with pytest.raises(ValueError, match=str(length)):
            kind(bytes(length))


def sealed(plaintext: bytes = b"share") -> bytes:
    return seal(
        plaintext, key=ALICE, peer=BOB.public, context=b"c", sender="alice", recipient="bob"
    )


OPENING: dict[str, Any] = {
    "key": BOB,
    "peer": ALICE.public,
    "context": b"c",
    "sender": "alice",
    "recipient": "bob",
}


def test_a_sealed_share_opens_for_its_recipient() -> None:
    assert unseal(sealed(), **OPENING) == b"share"
    assert len(sealed()) == len(b"share") + TAG_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"key": EVE},
        {"peer": EVE.public},
        {"context": b"another round"},
        {"sender": "eve"},
        {"recipient": "eve"},
        {"sender": "bob", "recipient": "alice"},
    ],
)
def test_a_sealed_share_opens_for_nobody_else_and_nowhere_else(change: dict[str, Any]) -> None:
    with pytest.raises(ShareError):
        unseal(sealed(), **OPENING | change)


def test_a_changed_ciphertext_does_not_open() -> None:
    whole = sealed()
    broken = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(len(whole))]
    for ciphertext in [*broken, whole[:-1], whole + b"\x00", b""]:
        with pytest.raises(CryptoError):
            unseal(ciphertext, **OPENING)


def test_the_two_directions_of_a_pair_have_different_keys() -> None:
    back = seal(b"share", key=BOB, peer=ALICE.public, context=b"c", sender="bob", recipient="alice")
    assert back[:5] != sealed()[:5]  # one key and nonce would give one keystream


PRIME = 2**255 - 19
D = -121665 * pow(121666, -1, PRIME) % PRIME


def order(y: int, limit: int = 9) -> int | None:
    """The order of the edwards25519 point with this y, by plain arithmetic; None beyond `limit`."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    assert (x * x - square) % PRIME == 0, "not on the curve"
    at, count = (x, y), 1
    while at != (0, 1) and count < limit:
        k = D * at[0] * x * at[1] * y % PRIME
        at = (
            (at[0] * y + x * at[1]) * pow(1 + k, -1, PRIME) % PRIME,
            (at[1] * y + at[0] * x) * pow(1 - k, -1, PRIME) % PRIME,
        )
        count += 1
    return count if at == (0, 1) else None


def test_identity_keys_of_low_order_are_refused_in_every_encoding() -> None:
    """Under such a key anybody's signature verifies."""
    assert {order(y) for y in keys._LOW_ORDER_Y} == {1, 2, 4, 8}
    assert len(keys._LOW_ORDER_Y) == 5
    for y in keys._LOW_ORDER_Y:
        for encoded in (y, y + PRIME):  # not canonical, where it fits 255 bits
            if encoded >= 2**255:
                continue
            for sign in (0, 2**255):
                with pytest.raises(KeyInvalidError, match="low order"):
                    IdentityPublic((encoded | sign).to_bytes(32, "little"))


def test_a_registry_file_with_an_identity_of_low_order_is_refused() -> None:
    good = RegistryFile({}).put("ann", IDENTITY.public)
    raw = next(iter(good.pinned().identities.values())).raw.hex().encode()
    with pytest.raises(CryptoError):
        parse_registry(good.to_bytes().replace(raw, bytes(32).hex().encode()))
