"""An owner signs the one aggregate of a round that may be decrypted.

With c ≤ 2τ − n − 1 colluders no two aggregates of a round can each gather τ signatures, since an
honest owner signs one (the argument of `masking.policy`). The signature does not say that the
aggregate is the sum of what owners sent: an owner does not see the others' ciphertexts. A verifier
who has them all recomputes it without any key.
"""

from __future__ import annotations

from dataclasses import dataclass

from feddiff_crypto.errors import ContextMismatchError, DecodeError, SurvivorSetError
from feddiff_crypto.he.ciphertexts import check_chunks
from feddiff_crypto.he.errors import KeyMismatchError
from feddiff_crypto.he.messages import AGGREGATE_LABEL, EncryptedAggregate
from feddiff_crypto.he.parameters import EncryptedPlan
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.single_use import SingleUse


@dataclass(frozen=True, slots=True)
class ExpectedAggregate:
    """What an owner or custodian knows of a round's aggregate before it sees it.

    Args:
        plan: owners and dimension.
        policy: τ.
        context: digest of the round's context, with the roster.
        survivors: the survivor set that was signed, ascending.
        key_id: of the round's key.
    """

    plan: EncryptedPlan
    policy: Policy
    context: bytes
    survivors: tuple[str, ...]
    key_id: bytes

    def check(self, aggregate: EncryptedAggregate) -> None:
        """Return if `aggregate` can be this round's.

        Raises:
            ContextMismatchError, KeyMismatchError: of another round or key.
            SurvivorSetError: of other survivors than those signed, or more than the plan's owners.
            ThresholdError: of fewer than τ.
            DecodeError: another number of chunks, or seeded ones, which no sum is.
        """
        if aggregate.context != self.context:
            raise ContextMismatchError("an aggregate of another context")
        if aggregate.key_id != self.key_id:
            raise KeyMismatchError("an aggregate under another key")
        if aggregate.survivors != self.survivors or len(self.survivors) > self.plan.owners:
            raise SurvivorSetError("the aggregate names other survivors than the signed set")
        self.policy.require("survivors", len(self.survivors))
        check_chunks(aggregate.ciphertexts, self.plan.chunks)
        if aggregate.ciphertexts.seeded:
            raise DecodeError("a seeded ciphertext is one owner's, not a sum")


class AggregateReview(SingleUse[tuple[str, IdentityKey, ExpectedAggregate]]):
    """An owner that waits for the aggregate; it signs one and no other.

    Args:
        party: the owner's name.
        identity: its identity key.
        expected: what the aggregate must be.

    Raises:
        SurvivorSetError: the owner is no survivor.
    """

    def __init__(self, *, party: str, identity: IdentityKey, expected: ExpectedAggregate) -> None:
        if party not in expected.survivors:
            raise SurvivorSetError(f"{party} is not in the survivor set")
        super().__init__((party, identity, expected))

    def endorse(self, aggregate: EncryptedAggregate) -> tuple[bytes, bytes]:
        """Check and sign.

        Returns:
            The digest that was signed, which `Decryption` will insist on, and the signature.

        Raises:
            OutOfOrderError: called before, whether it signed or refused.
            CryptoError: as `ExpectedAggregate.check`.
        """
        _, identity, expected = self._take()
        expected.check(aggregate)
        digest = aggregate.digest()
        signature = identity.sign(AGGREGATE_LABEL, digest)
        return digest, signature
