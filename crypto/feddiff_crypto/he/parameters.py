r"""The one set of CKKS parameters, and why sums of ring vectors decrypt exactly under it.

Ring degree N = 4096, primes q = 2⁶⁰ − 2¹⁴ + 1 (ciphertexts) and p = 2⁴⁹ − 204799 (key level only),
scale Δ = 2²⁰, 2048 slots, one element of ℤ₂³² a slot, sums of at most 127 vectors. These are not
options: every other choice is refused, since the argument below is for this one.

Security. log₂(qp) = 109 is the most that the HomomorphicEncryption.org standard (Albrecht et al.
2018, table 1, ternary secret) allows at N = 4096 for 128-bit classical security; SEAL checks it
(`sec_level_type::tc128`). Secret-key ciphertexts use q alone.

Room. Encoding is the inverse of the canonical embedding, so no coefficient of an encoded vector is
larger than Δ times its largest slot (Cheon et al., ASIACRYPT 2017, section 3.1). The plaintext of a
sum of n vectors therefore stays below

    n · (2³² − 1) · Δ  ≤  127 · 2⁵²  <  128 · 2⁵² − 2⁵¹  <  q / 2,

which leaves 2⁵¹ for the noise of the ciphertexts: it does not wrap, and slots are integers in
[0, n(2³² − 1)] plus an error. Rounding them and reducing modulo 2³² gives the modular sum exactly
if the error of each slot is below 1/2. A slot's error has these parts, all divided by Δ:

- Noise. SEAL's is centred binomial of variance 10.5 a coefficient (|e| ≤ 21). A slot is the product
  of n·N of them with numbers of modulus 1; its real part has standard deviation √(10.5·n·N/2): for
  n = 127, 1653 / Δ = 0.0016. The sum is sub-Gaussian, so P(> Δ/8) < 2·exp(−(2¹⁷)²/(2·10.5·n·N)),
  below 10⁻⁶⁸⁰.
- Rounding to integers in the encoder, at most 1/2 a coefficient: never more than n·N/2 in a slot,
  0.248 for n = 127, were all of them to conspire; as independent ones, √(n·N/24) / Δ = 0.0001.
- float64 in the encoder and decoder, with 53 bits for plaintexts of up to 59. A transform of N
  points has a relative error in L2 of some log₂(N) · 2⁻⁵³ (Higham, Accuracy and Stability, section
  24.1), and by Parseval a slot's error is about that times the root mean square of the slots, at
  most 2⁵⁹ / Δ: 12 · 2⁶ / 2²⁰ = 0.0007 in the decoder, less in each encoder.
- Public-key encryption (custodian mode) is done at qp and scaled down by p. What is left is the
  rounding of both polynomials, the second times the ternary s: a standard deviation of
  √((1 + 2N/3)/12) = 15 a coefficient, and √(n·N/2) · 15 / Δ = 0.0073 in a slot for n = 127.

The first three give a standard deviation of 0.0016 to 0.002 for n = 127 in the common mode;
docs/he.md has the measured ones. The decryption refuses an error above `MARGIN` = 1/4 in any slot:
an honest sum does not come near it, and a forged or damaged one misses it in half of its slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from feddiff_crypto.errors import LimitError, PolicyError

DEGREE: Final = 4096  # N, coefficients of a polynomial
SLOTS: Final = DEGREE // 2  # ring elements of a chunk
MODULUS_BITS: Final = (60, 49)
MODULUS: Final = 2**60 - 2**14 + 1  # q, of ciphertexts
SPECIAL_MODULUS: Final = 2**49 - 204799  # p, at the level of keys only
SCALE: Final = 2.0**20  # Δ
RING_BITS: Final = 32
MARGIN: Final = 0.25  # largest accepted |error| of a slot; half of it would still be exact
MAX_OWNERS: Final = 127  # terms of a sum
MAX_DIMENSION: Final = 2**24  # elements of a vector: 8192 chunks, 512 MiB of aggregate


@dataclass(frozen=True, slots=True)
class EncryptedPlan:
    """The public numbers of a round in encrypted mode.

    Args:
        owners: the most vectors in the sum, 2..127.
        dimension: elements of each vector, 1..2²⁴.
        ring_bits: 32; a 64-bit element does not fit a slot.

    Raises:
        PolicyError: `owners` or `ring_bits` outside these.
        LimitError: `dimension` outside these.
    """

    owners: int
    dimension: int
    ring_bits: int = RING_BITS

    def __post_init__(self) -> None:
        if not 2 <= self.owners <= MAX_OWNERS:
            raise PolicyError(f"owners: {self.owners} is not in 2..{MAX_OWNERS}, the exact sums")
        if self.ring_bits != RING_BITS:
            raise PolicyError(f"ring_bits: {self.ring_bits}, encrypted sums need {RING_BITS}")
        if not 1 <= self.dimension <= MAX_DIMENSION:
            raise LimitError(f"dimension: {self.dimension} is not in 1..{MAX_DIMENSION}")

    @property
    def chunks(self) -> int:
        """Ciphertexts of one vector; the last is filled up with zeros."""
        return -(-self.dimension // SLOTS)
