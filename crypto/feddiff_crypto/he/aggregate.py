"""The coordinator adds ciphertexts. It holds no key, and nothing here takes one."""

from __future__ import annotations

from typing import Any

import numpy as np

from feddiff_crypto.errors import (
    ContextMismatchError,
    DecodeError,
    OutOfOrderError,
    RosterError,
    SurvivorSetError,
)
from feddiff_crypto.he.ciphertexts import Ciphertexts, check_chunks
from feddiff_crypto.he.errors import KeyMismatchError
from feddiff_crypto.he.memory_file import MemoryFile
from feddiff_crypto.he.messages import EncryptedAggregate, EncryptedInput
from feddiff_crypto.he.parameters import DEGREE, EncryptedPlan
from feddiff_crypto.he.seal import load_seal
from feddiff_crypto.he.seal_format import (
    SEED_BYTES,
    Residues,
    StoredOtherwiseError,
    words_of_ciphertext,
)


class CiphertextSum:
    """A running sum: one accumulator of two polynomials a chunk, whatever the number of owners.

    After an error in `add` the sum is spoiled and refuses everything.

    Args:
        plan: the most owners, and the dimension.
        context: digest of the round's context, with the roster.
        key_id: of the key that this round is encrypted under.

    Raises:
        EncryptionUnavailableError: this machine cannot.
    """

    def __init__(self, *, plan: EncryptedPlan, context: bytes, key_id: bytes) -> None:
        self._seal = load_seal()
        self._plan = plan
        self._context = context
        self._key_id = key_id
        self._sums: list[Any] = []
        self._parties: set[str] = set()
        self._open = True

    @property
    def parties(self) -> tuple[str, ...]:
        """Whose ciphertexts are in the sum, ascending."""
        return tuple(sorted(self._parties))

    def add(self, message: EncryptedInput) -> None:
        """Add one owner's ciphertexts; the message is not kept.

        Raises:
            OutOfOrderError: the sum is finished or spoiled.
            ContextMismatchError, KeyMismatchError: a message of another round or key.
            RosterError: a party a second time, or more than the plan's owners.
            DecodeError: a wrong number of chunks, or ciphertexts that do not add.
        """
        if not self._open:
            raise OutOfOrderError("the sum is finished or spoiled")
        self._open = False
        self._check(message)
        with MemoryFile() as file:
            for chunk in range(self._plan.chunks):
                term = message.ciphertexts.load(chunk, self._seal, file)
                if self._parties:
                    self._add_to(chunk, term, message.party)
                else:
                    self._sums.append(term)
        self._parties.add(message.party)
        self._open = True

    def finish(self, survivors: tuple[str, ...]) -> EncryptedAggregate:
        """The aggregate. The sum serves once.

        Args:
            survivors: the survivor set, ascending; exactly the parties that were added.

        Raises:
            OutOfOrderError: the sum is finished or spoiled.
            SurvivorSetError: other parties were added.
        """
        if not self._open:
            raise OutOfOrderError("the sum is finished or spoiled")
        if not survivors or survivors != self.parties:
            raise SurvivorSetError(f"the sum is of {self.parties}, not of {survivors}")
        self._open = False
        residues = np.empty((self._plan.chunks, 2, DEGREE), np.uint64)
        with MemoryFile() as file:
            for chunk, total in enumerate(self._sums):
                total.save(file.path)
                residues[chunk] = _words(file.read(), total)
        self._sums.clear()
        sums = Ciphertexts(residues, np.zeros((0, SEED_BYTES), np.uint8))
        return EncryptedAggregate(self._context, survivors, self._key_id, sums)

    def _check(self, message: EncryptedInput) -> None:
        if message.context != self._context:
            raise ContextMismatchError("ciphertexts of another context", party=message.party)
        if message.key_id != self._key_id:
            raise KeyMismatchError("ciphertexts under another key", party=message.party)
        if message.party in self._parties:
            raise RosterError("ciphertexts a second time", party=message.party)
        if len(self._parties) == self._plan.owners:
            raise RosterError(f"more than {self._plan.owners} owners", party=message.party)
        check_chunks(message.ciphertexts, self._plan.chunks)

    def _add_to(self, chunk: int, term: Any, party: str) -> None:
        try:
            self._seal.evaluator.add_inplace(self._sums[chunk], term)
        except (ValueError, RuntimeError) as error:
            raise DecodeError(f"{party}: chunk {chunk} does not add: {error}") from error


def _words(stored: bytes, ciphertext: Any) -> Residues:
    try:
        return words_of_ciphertext(stored, (2, DEGREE))[0]
    except StoredOtherwiseError:  # compressed after all: word by word, slowly
        words = ciphertext.dyn_array()
        flat = [words.at(i) for i in range(2 * DEGREE)]
        return np.array(flat, np.uint64).reshape(2, DEGREE)
