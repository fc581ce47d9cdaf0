"""A key holder decrypts one signed aggregate a round, and only integers of the grid leave it.

An approximate decryption shown as it is gives away the error of the ciphertext, and with it the key
(Li and Micciancio, EUROCRYPT 2021, section 3). So what leaves here is rounded to integers of the
ring, where an honest sum has no error left; an aggregate that is not such a sum gives nothing but
one fixed refusal; and there is one decryption a key, since each attempt has its own key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.errors import (
    ContextMismatchError,
    SurvivorSetError,
)
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.endorse import ExpectedAggregate
from feddiff_crypto.he.errors import AlreadyDecryptedError, DecryptionRefusedError, KeyMismatchError
from feddiff_crypto.he.keys import CkksSecretKey
from feddiff_crypto.he.memory_file import MemoryFile
from feddiff_crypto.he.messages import (
    AGGREGATE_LABEL,
    SUM_LABEL,
    EncryptedAggregate,
    SumSignature,
    sum_digest,
)
from feddiff_crypto.he.parameters import MARGIN, SLOTS
from feddiff_crypto.he.seal import load_seal
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.single_use import SingleUse


@dataclass(frozen=True, slots=True, repr=False)
class _Held:
    key: CkksSecretKey
    registry: Registry
    expected: ExpectedAggregate
    endorsed: bytes | None


class Decryption(SingleUse[_Held]):
    """A holder of the secret key that has not decrypted yet in this attempt.

    Args:
        key: the secret key of this attempt.
        registry: the owners' pinned identities.
        expected: what the aggregate must be.
        endorsed: the digest that this owner signed; None for a custodian, who signs none.
    """

    used_error = AlreadyDecryptedError

    def __init__(
        self,
        *,
        key: CkksSecretKey,
        registry: Registry,
        expected: ExpectedAggregate,
        endorsed: bytes | None,
    ) -> None:
        super().__init__(_Held(key, registry, expected, endorsed))

    def decrypt(
        self,
        aggregate: EncryptedAggregate,
        signatures: Mapping[str, bytes],
        on_decrypt: Callable[[bytes], None],
    ) -> RingArray:
        """The sum of the survivors' masked vectors modulo 2³².

        1. The aggregate can be this round's, and is the one that this owner signed.
        2. At least τ survivors signed it; every signature given is valid.
        3. `on_decrypt` persists that this round was decrypted; if it raises, nothing is.
        4. Every slot is within `MARGIN` of an integer in [0, n(2³² − 1)], the filling of the last
           chunk of zero. All slots are looked at before anything is said.

        Args:
            aggregate: from anywhere.
            signatures: survivor → its signature of the aggregate.
            on_decrypt: called with the digest of the aggregate.

        Returns:
            uint32 (dimension,), still under the masks that did not cancel.

        Raises:
            AlreadyDecryptedError: called before, whether it decrypted or refused.
            KeyMismatchError: the aggregate is of another key than the one held.
            SurvivorSetError: not the aggregate this owner signed, or a signer that is no survivor.
            ThresholdError, SignatureInvalidError: step 2.
            DecryptionRefusedError: step 4.
            CryptoError: others of `ExpectedAggregate.check`.
        """
        held = self._take()
        expected = held.expected
        expected.check(aggregate)  # 1
        digest = aggregate.digest()
        if held.endorsed is not None and digest != held.endorsed:
            raise SurvivorSetError("not the aggregate that this owner signed")
        for signer, signature in signatures.items():  # 2
            if signer not in expected.survivors:
                raise SurvivorSetError("a signer that is no survivor", party=signer)
            held.registry.verify(signer, signature, AGGREGATE_LABEL, digest)
        expected.policy.require("aggregate signatures", len(signatures))
        on_decrypt(digest)  # 3
        slots = _decrypt_slots(aggregate, held.key)
        return _round_to_ring(slots, expected.plan.dimension, len(expected.survivors))  # 4


def sign_sum(total: RingArray, party: str, identity: IdentityKey, context: bytes) -> SumSignature:
    """Sign the sum of a round after its masks were removed.

    The coordinator, who sees the digest, can confirm a guess of the whole sum with it; a noised sum
    cannot be guessed.
    """
    digest = sum_digest(total, context)
    return SumSignature(context, party, digest, identity.sign(SUM_LABEL, digest))


def check_sum_signatures(
    messages: Mapping[str, SumSignature], registry: Registry, policy: Policy, context: bytes
) -> bytes:
    """The digest of a round's sum on which at least τ key holders agree; all given must agree.

    This is what a verifier without the key can check: that τ owners vouch for the sum, not that it
    is the decryption of the aggregate.

    Args:
        messages: party → its message.
        registry: pinned identities.
        policy: τ.
        context: digest of the round's context, with the roster.

    Raises:
        ContextMismatchError: a message of another context or in another's name.
        SignatureInvalidError, RosterError: not signed by a pinned party.
        KeyMismatchError: two parties decrypted different sums.
        ThresholdError: fewer than τ.
    """
    for party, message in messages.items():
        if message.context != context or message.party != party:
            raise ContextMismatchError("a sum of another context or party", party=party)
        registry.verify(party, message.signature, SUM_LABEL, message.sum_digest)
    policy.require("sum signatures", len(messages))
    digests = {message.sum_digest for message in messages.values()}
    if len(digests) != 1:
        raise KeyMismatchError(f"{len(digests)} different sums were decrypted")
    return digests.pop()


def _decrypt_slots(aggregate: EncryptedAggregate, key: CkksSecretKey) -> NDArray[np.float64]:
    """All slots of all chunks, (chunks · 2048,)."""
    seal = load_seal()
    ciphertexts = aggregate.ciphertexts
    slots = np.empty((ciphertexts.chunks, SLOTS), np.float64)
    with MemoryFile() as file:
        decryptor = seal.api.Decryptor(seal.context, key.load(file))
        plain = seal.api.Plaintext()
        for chunk in range(ciphertexts.chunks):
            decryptor.decrypt(ciphertexts.load(chunk, seal, file), plain)
            slots[chunk] = seal.encoder.decode_double(plain)
    return slots.reshape(-1)


def _round_to_ring(slots: NDArray[np.float64], dimension: int, terms: int) -> RingArray:
    integers = np.rint(slots)
    largest = terms * (2.0**32 - 1)
    exact = (np.abs(slots - integers) <= MARGIN) & (integers >= 0) & (integers <= largest)
    if not exact.all() or integers[dimension:].any():
        raise DecryptionRefusedError("the aggregate does not decrypt to a sum on the ring")
    return integers[:dimension].astype(np.uint64).astype(np.uint32)
