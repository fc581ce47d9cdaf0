"""A coordinator that pools all it saw with the secrets of some parties, and strips the rest.

It takes off a masked vector every mask that the pool can compute: the self mask, which the unmask
phase opens, and the pairwise masks with its members. In encrypted mode it first decrypts the one
party's ciphertexts with the key that every party of a round holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from feddiff_crypto.he.aggregate import CiphertextSum
from feddiff_crypto.he.decrypt import _decrypt_slots, _round_to_ring
from feddiff_crypto.he.keys import CkksSecretKey
from feddiff_crypto.he.messages import EncryptedInput
from feddiff_crypto.he.parameters import SLOTS, EncryptedPlan
from feddiff_crypto.he.ways import OwnersWay
from feddiff_crypto.masking.attempt_secrets import AttemptSecrets
from feddiff_crypto.masking.messages import MaskedInput, Roster, UnmaskReply
from feddiff_crypto.masking.opening import open_secrets
from feddiff_crypto.masking.pairs import pairwise_seeds
from feddiff_crypto.masking.seeds import self_seed
from feddiff_crypto.prg import MaskSeed, add_masks
from tests.support.federations import RecordingExchange, Sent

Ring = NDArray[np.uint32]


@dataclass
class Coalition:
    """The pool. Recording begins when it is made.

    Attributes:
        members: parties that give it their secrets; none for the coordinator alone.
        secrets: of each member, one an attempt. keys: CKKS keys of the members' attempts.
    """

    members: tuple[str, ...]
    secrets: dict[str, list[AttemptSecrets]] = field(default_factory=dict)
    keys: dict[bytes, CkksSecretKey] = field(default_factory=dict)

    @classmethod
    def of(cls, monkeypatch: pytest.MonkeyPatch, *members: str) -> Coalition:
        """The coordinator and `members`, whose nodes do what the protocol says."""
        pool = cls(members, {name: [] for name in members})
        generate, accept = AttemptSecrets.generate, OwnersWay.accept

        def recorded(agreement: Any, party: str, *rest: Any) -> AttemptSecrets:
            made = generate(agreement, party, *rest)
            if party in members:
                pool.secrets[party].append(made)
            return made

        def keyed(made: Any, sealed: Any, channel: Any) -> OwnersWay:
            way = accept(made, sealed, channel)
            if channel.party in members:
                pool.keys[way.key_id] = way.key
            return way

        monkeypatch.setattr(AttemptSecrets, "generate", recorded)
        monkeypatch.setattr(OwnersWay, "accept", keyed)
        return pool

    def stripped(self, exchange: RecordingExchange, number: int) -> dict[str, Ring]:
        """What is left of every other party's vector of the `number`-th sum.

        Where the pool has no CKKS key the ciphertexts' own bytes are returned as they are.
        """
        roster = Roster.from_message(_sum(exchange, "share", number)[0].request)
        replies = {
            sent.party: UnmaskReply.from_message(sent.reply)
            for sent in _sum(exchange, "unmask", number)
        }
        opened = open_secrets(replies, roster, roster.parties, (), len(roster.parties))
        left: dict[str, Ring] = {}
        for sent in _sum(exchange, "mask", number):
            if sent.party in self.members:
                continue
            masked = self._masked(sent, len(roster.parties))
            if masked is None:
                residues = sent.reply["residues"]
                assert isinstance(residues, np.ndarray)
                left[sent.party] = residues.astype(np.uint32).ravel()
                continue
            own = self_seed(opened.self_secrets[sent.party], sent.party, masked.context)
            plus, minus = [own], list[MaskSeed]()  # as the owner added them
            for member in self.members:
                seed = pairwise_seeds(
                    self.secrets[member][number].mask_key,
                    member,
                    peers=[sent.party],
                    roster=roster,
                    context=masked.context,
                    received={},
                )[sent.party]
                (plus if member > sent.party else minus).append(seed)
            add_masks(masked.vector, plus=minus, minus=plus)
            left[sent.party] = masked.vector.astype(np.uint32)
        return left

    def _masked(self, sent: Sent, parties: int) -> MaskedInput | None:
        if "residues" not in sent.reply:
            message = MaskedInput.from_message(sent.reply)
            return MaskedInput(message.context, message.party, message.vector.copy())
        sealed = EncryptedInput.from_message(sent.reply)
        if sealed.key_id not in self.keys:
            return None
        plan = EncryptedPlan(parties, SLOTS * sealed.ciphertexts.chunks)
        total = CiphertextSum(plan=plan, context=sealed.context, key_id=sealed.key_id)
        total.add(sealed)
        slots = _decrypt_slots(total.finish((sent.party,)), self.keys[sealed.key_id])
        return MaskedInput(sealed.context, sent.party, _round_to_ring(slots, plan.dimension, 1))


def _sum(exchange: RecordingExchange, phase: str, number: int) -> list[Sent]:
    """The messages of a phase in the `number`-th sum, all parties answering."""
    sent = exchange.replies(phase)
    count = len({message.party for message in sent})
    return sent[number * count : (number + 1) * count]
