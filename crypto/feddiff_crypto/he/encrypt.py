"""An owner encrypts its masked vector.

What is encrypted must be masked already: every owner holds the key, and only the masks keep owners
apart. The functions take any uint32 vector and cannot check that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.ciphertexts import Ciphertexts
from feddiff_crypto.he.errors import EncryptionUnavailableError
from feddiff_crypto.he.keys import CkksPublicKey, CkksSecretKey
from feddiff_crypto.he.memory_file import MemoryFile
from feddiff_crypto.he.parallel import run_in_processes, shared_array
from feddiff_crypto.he.parameters import DEGREE, MAX_DIMENSION, SCALE, SLOTS
from feddiff_crypto.he.seal import Seal, load_seal
from feddiff_crypto.he.seal_format import (
    SEED_BYTES,
    Residues,
    StoredOtherwiseError,
    words_of_ciphertext,
)

_ATTEMPTS: Final = 8
_NO_SEEDS: Final = np.zeros((0, SEED_BYTES), np.uint8)

_Encrypt = Callable[[Any], Any]  # a plaintext of SEAL to something that saves a ciphertext


def encrypt_symmetric(vector: RingArray, key: CkksSecretKey, *, processes: int = 1) -> Ciphertexts:
    """Encrypt under the owners' secret key, seeded: 16.03 bytes an element in full chunks.

    Args:
        vector: uint32, one-dimensional, 1..2²⁴ elements; masked.
        key: the key of this attempt.
        processes: how many to use; a fork pays above some 10⁵ elements.

    Raises:
        TypeError, ValueError: `vector` is not such a vector, or `processes` < 1.
        EncryptionUnavailableError: this machine cannot.
        ChildProcessError: a child process failed.
    """
    chunks = _chunks(vector)
    residues = shared_array((chunks, 1, DEGREE), np.uint64)
    seeds = shared_array((chunks, SEED_BYTES), np.uint8)
    seal = load_seal()

    def work(part: range) -> None:
        with MemoryFile() as file:
            encryptor = seal.api.Encryptor(seal.context, key.load(file))
            for chunk in part:
                words, rest = _encrypt(
                    encryptor.encrypt_symmetric, _encode(vector, chunk, seal), file, 1
                )
                residues[chunk] = words
                seeds[chunk] = np.frombuffer(rest[-SEED_BYTES:], np.uint8)

    run_in_processes(work, chunks, processes)
    _check_fresh(seeds)
    return Ciphertexts(residues, seeds)


def encrypt_public(vector: RingArray, key: CkksPublicKey, *, processes: int = 1) -> Ciphertexts:
    """Encrypt under a custodian's public key: 32 bytes an element in full chunks.

    Arguments and errors are those of `encrypt_symmetric`.
    """
    chunks = _chunks(vector)
    residues = shared_array((chunks, 2, DEGREE), np.uint64)
    seal = load_seal()

    def work(part: range) -> None:
        with MemoryFile() as file:
            encryptor = seal.api.Encryptor(seal.context, key.load(file))

            def encrypt(plain: Any) -> Any:
                ciphertext = seal.api.Ciphertext()
                encryptor.encrypt(plain, ciphertext)
                return ciphertext

            for chunk in part:
                residues[chunk], _ = _encrypt(encrypt, _encode(vector, chunk, seal), file, 2)

    run_in_processes(work, chunks, processes)
    _check_fresh(residues[:, 1, : SEED_BYTES // 8])
    return Ciphertexts(residues, _NO_SEEDS)


def _chunks(vector: RingArray) -> int:
    if vector.dtype != np.uint32 or vector.ndim != 1:
        raise TypeError(f"vector: {vector.dtype} of {vector.ndim} axes is not a uint32 vector")
    if not 1 <= vector.size <= MAX_DIMENSION:
        raise ValueError(f"vector: {vector.size} elements, not in 1..{MAX_DIMENSION}")
    return -(-vector.size // SLOTS)


def _encode(vector: RingArray, chunk: int, seal: Seal) -> Any:
    slots = vector[chunk * SLOTS : (chunk + 1) * SLOTS].astype(np.float64)  # exact: below 2⁵³
    values = slots.tolist()
    values += [0.0] * (SLOTS - len(values))
    plain = seal.api.Plaintext()
    seal.encoder.encode(values, SCALE, plain)
    return plain


def _encrypt(
    encrypt: _Encrypt, plain: Any, file: MemoryFile, polynomials: int
) -> tuple[Residues, bytes]:
    """Residues of one ciphertext and what follows them in SEAL's format.

    Random residues do not compress, so SEAL's stored form is raw. Should one ever be, by chance,
    another encryption with new randomness takes its place.
    """
    for _ in range(_ATTEMPTS):
        encrypt(plain).save(file.path)
        try:
            return words_of_ciphertext(file.read(), (polynomials, DEGREE))
        except StoredOtherwiseError as error:
            problem = error
    raise EncryptionUnavailableError(f"SEAL stores {_ATTEMPTS} ciphertexts otherwise: {problem}")


def _check_fresh(randomness: NDArray[Any]) -> None:
    """Two chunks under equal randomness would give away their difference; forks are a way there."""
    if len(np.unique(randomness, axis=0)) != len(randomness):
        raise RuntimeError("two chunks were encrypted with the same randomness; nothing is sent")
