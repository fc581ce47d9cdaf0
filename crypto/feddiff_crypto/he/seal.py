"""SEAL through `tenseal.sealapi`, set up once for the parameters of this package.

TenSEAL is imported when the encrypted mode is first used, never before: without it everything else
of this package works.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from feddiff_crypto.he.errors import EncryptionUnavailableError
from feddiff_crypto.he.memory_file import MemoryFile
from feddiff_crypto.he.parameters import (
    DEGREE,
    MODULUS,
    MODULUS_BITS,
    SCALE,
    SLOTS,
    SPECIAL_MODULUS,
)
from feddiff_crypto.he.seal_format import (
    SEED_BYTES,
    Framing,
    StoredOtherwiseError,
    version_of,
    words_of_ciphertext,
)


@dataclass(frozen=True, slots=True)
class Seal:
    """The library with its context. It holds no key."""

    api: Any
    context: Any
    encoder: Any
    evaluator: Any
    framing: Framing  # of ciphertexts
    key_framing: Framing  # of keys

    def load_ciphertext(self, data: bytes, file: MemoryFile) -> Any:
        """A ciphertext from bytes that `framing` made.

        Raises:
            ValueError, RuntimeError: SEAL refuses them.
        """
        file.write(data)
        ciphertext = self.api.Ciphertext()
        ciphertext.load(self.context, file.path)
        return ciphertext


@cache
def load_seal() -> Seal:
    """SEAL, ready and checked: our framing of a ciphertext is what it writes itself.

    Raises:
        EncryptionUnavailableError: TenSEAL or memory files are missing, or the SEAL inside is
            another than this package knows.
    """
    try:
        api = importlib.import_module("tenseal.sealapi")
    except ImportError as error:
        raise EncryptionUnavailableError(
            f"TenSEAL cannot be imported ({error}); it has wheels for some platforms only"
        ) from error
    parameters = api.EncryptionParameters(api.SCHEME_TYPE.CKKS)
    parameters.set_poly_modulus_degree(DEGREE)
    moduli = api.CoeffModulus.Create(DEGREE, list(MODULUS_BITS))
    parameters.set_coeff_modulus(moduli)
    context = api.SEALContext(parameters, True, api.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set() or [m.value() for m in moduli] != [MODULUS, SPECIAL_MODULUS]:
        raise EncryptionUnavailableError(
            f"SEAL does not take the parameters: {context.parameters_error_message()}"
        )
    encoder = api.CKKSEncoder(context)
    with MemoryFile() as file:
        key = api.KeyGenerator(context).secret_key()
        plain = api.Plaintext()
        encoder.encode([1.0] * SLOTS, SCALE, plain)
        api.Encryptor(context, key).encrypt_symmetric(plain).save(file.path)
        version = version_of(file.read())
        seal = Seal(
            api,
            context,
            encoder,
            api.Evaluator(context),
            Framing(version, tuple(context.first_parms_id())),
            Framing(version, tuple(context.key_parms_id())),
        )
        _check_framing(seal, key, file)
    return seal


def _check_framing(seal: Seal, key: Any, file: MemoryFile) -> None:
    """Take a ciphertext apart, frame it anew, decrypt it. The key is thrown away."""
    try:
        words, rest = words_of_ciphertext(file.read(), (DEGREE,))
        framed = seal.framing.ciphertext(words, scale=SCALE, seed=rest[-SEED_BYTES:])
        ciphertext = seal.load_ciphertext(framed, file)
        plain = seal.api.Plaintext()
        seal.api.Decryptor(seal.context, key).decrypt(ciphertext, plain)
        good = np.allclose(seal.encoder.decode_double(plain), 1.0, rtol=0, atol=0.1)
    except (StoredOtherwiseError, ValueError, RuntimeError) as error:
        raise EncryptionUnavailableError(
            f"this SEAL stores ciphertexts otherwise: {error}"
        ) from error
    if not good:
        raise EncryptionUnavailableError("this SEAL reads our ciphertexts otherwise")
