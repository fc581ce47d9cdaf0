"""Throw broken bytes at every parser and see that only named errors of `feddiff_crypto` come out.

    python scripts/fuzz_parsers.py --inputs 1000000                  # mutation, no extra package
    python scripts/fuzz_parsers.py --inputs 1000000 --engine atheris # coverage-guided

A finding is an exception that is no `CryptoError`, bytes that are accepted without being the one
encoding of what was read, an input that takes longer than a second, or more than 1 GiB of memory
above the start. The first finding of a parser ends its run with the input as hex.

Mutations know the format: besides bytes, slices and lengths, they change single fields of a decoded
message to values that no message has, and encode them again, so that the checks behind the codec
are reached. Everything follows from `--seed`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from encrypted_seeds import encrypted_seeds
from log_vectors import LEAVES, attestation, witnessed
from transcript_seeds import transcript_parts

from feddiff_crypto.attest.dsse import Envelope, parse_envelope
from feddiff_crypto.attest.statement import Statement, parse_statement
from feddiff_crypto.canonical_json import canonical_json
from feddiff_crypto.encoding import Value, decode, encode
from feddiff_crypto.errors import CryptoError
from feddiff_crypto.he.round_messages import DecryptRequest, OpenedSecrets
from feddiff_crypto.identity_file import parse_identity, store_identity
from feddiff_crypto.jcs import jcs, parse_jcs
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.masking import messages as m
from feddiff_crypto.masking.contributions import Contributions
from feddiff_crypto.masking.share_messages import CONTRIBUTION_BYTES, HYBRID_SEALED_BYTES
from feddiff_crypto.mlkem import KEM_PUBLIC_BYTES
from feddiff_crypto.randomness import VectorRandom
from feddiff_crypto.registry_file import RegistryFile, parse_registry
from feddiff_crypto.rotation import Rotation, parse_rotation
from feddiff_crypto.shamir import Share
from feddiff_crypto.tlog.checkpoint import parse_checkpoint
from feddiff_crypto.tlog.log import Log, parse_log
from feddiff_crypto.tlog.note import Note, parse_note
from feddiff_crypto.tlog.proof import Proof, parse_proof
from feddiff_crypto.tlog.witness import WitnessState, parse_witness_state

SLOWEST: Final = 1.0  # seconds an input may take
MEMORY: Final = 2**30  # bytes above the start
MAX_INPUT: Final = 4096  # bytes of an input, or what the longest seed takes
CONTEXT: Final = bytes(range(32))
ODD: Final[tuple[Value, ...]] = (
    0, -1, 2**63 - 1, True, 0.5, float("nan"), "", "\n", "ann\nann", "bob\nann", "é", "a" * 65,
    "\n".join(f"p{i:03d}" for i in range(101)), b"", bytes(31), bytes(33), bytes(64), bytes(4000),
    np.zeros((0, 32), np.uint8), np.zeros((2, 82), np.uint8), np.zeros(0, np.uint32),
    np.zeros((2, 2), np.uint32), np.zeros((), np.uint64), np.zeros(3, np.float64), bytes(1184),
    np.zeros((0, 1200), np.uint8), np.zeros((1, 1200), np.uint8), np.zeros((1, 1170), np.uint8),
)  # fmt: skip
ODD_JSON: Final[tuple[Any, ...]] = (
    None, True, 0, 1, -1, 2**53, 2**63, 10**30, 0.5, 1e300, "", "\n", "a b", "ann", "é", "A" * 64,
    "0" * 64, "\ud800", "====", "AAAA", "a" * 600, [], [1], [[]], {}, {"a": 1}, {"sha256": "00"},
)  # fmt: skip


@dataclass(frozen=True)
class Parser:
    """One parser: what it reads, what writes it back, and inputs that it accepts."""

    parse: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    seeds: tuple[bytes, ...]
    is_message: bool = False  # whether its bytes are of the codec, so that fields can be changed
    to_json: Callable[[Any], bytes] | None = None  # what writes it, if its bytes are JSON

    @property
    def longest(self) -> int:
        """Bytes that an input may have."""
        return max(MAX_INPUT, 64 + max(len(seed) for seed in self.seeds))


def _message(kind: Any, *seeds: Any) -> Parser:
    return Parser(
        lambda data: kind.from_message(decode(data)),
        lambda message: encode(message.to_message()),
        tuple(encode(seed.to_message()) for seed in seeds),
        is_message=True,
    )


def log_parsers() -> dict[str, Parser]:
    """The parsers of transparency logs and attestations."""
    log, _, proof, state = witnessed()
    (signed,) = attestation()["vectors"]
    note, checkpoint = proof.note.to_bytes(), proof.note.text.encode()
    envelope, statement = signed["envelope"].encode(), signed["statement"].encode()
    return {
        "json": Parser(
            lambda data: parse_jcs(data, "json", MAX_INPUT), jcs, log.leaves, to_json=jcs
        ),
        "log": Parser(parse_log, Log.to_bytes, (log.to_bytes(), jcs(LEAVES[0]) + b"\n")),
        "note": Parser(parse_note, Note.to_bytes, (note,)),
        "checkpoint": Parser(
            lambda data: parse_checkpoint(data.decode("latin-1")),
            lambda read: read.text.encode(),
            (checkpoint, b"a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"),
        ),
        "witness-state": Parser(
            parse_witness_state, WitnessState.to_bytes, (state,), to_json=canonical_json
        ),
        "log-proof": Parser(parse_proof, Proof.to_bytes, (proof.to_bytes(),)),
        "envelope": Parser(parse_envelope, Envelope.to_bytes, (envelope,), to_json=jcs),
        "statement": Parser(parse_statement, Statement.to_bytes, (statement,), to_json=jcs),
    }


def parsers() -> dict[str, Parser]:
    """Every parser that reads what another party or a disk may have made."""
    random = VectorRandom(b"fuzz")
    ann, bob = IdentityKey.generate(random), IdentityKey.generate(random)
    adverts = [
        m.Advertise(CONTEXT, name, bytes([i]) * 32, bytes([i + 9]) * 32, bytes(32), bytes(64))
        for i, name in enumerate(("ann", "bob", "cy"), start=1)
    ]
    sealed = {"bob": b"1" * m.SEALED_BYTES, "cy": b"2" * m.SEALED_BYTES}
    registry = RegistryFile({}).put("ann", ann.public).put("bob", bob.public)
    scalars: dict[str, Value] = {"b": True, "f": -0.5, "i": -2, "s": "señal", "y": b"\x00\xff"}
    arrays: dict[str, Value] = {"v": np.arange(6, dtype=np.uint32).reshape(2, 3), "w": np.zeros(0)}
    kem_keys = (b"k" * KEM_PUBLIC_BYTES, b"l" * KEM_PUBLIC_BYTES)
    hybrid = replace(adverts[0], kem_mask_key=kem_keys[0], kem_sealing_key=kem_keys[1])
    hybrid_row = {"bob": b"1" * HYBRID_SEALED_BYTES}
    contributed = {"bob": b"3" * CONTRIBUTION_BYTES}
    vector32, vector64 = np.arange(5, dtype=np.uint32), np.arange(3, dtype=np.uint64)
    return {
        "codec": Parser(decode, encode, (encode({}), encode(scalars), encode(arrays)), True),
        "advertise": _message(m.Advertise, *adverts),
        "roster": _message(m.Roster, m.Roster(CONTEXT, tuple(adverts))),
        "sealed-shares": _message(m.SealedShares, m.SealedShares(CONTEXT, "ann", sealed)),
        "delivered-shares": _message(m.DeliveredShares, m.DeliveredShares(CONTEXT, "ann", sealed)),
        "hybrid-advertise": _message(m.Advertise, hybrid),
        "hybrid-roster": _message(m.Roster, m.Roster(CONTEXT, (hybrid,))),
        "hybrid-sealed-shares": _message(
            m.SealedShares,
            m.SealedShares(CONTEXT, "ann", hybrid_row, contributed),
            m.SealedShares(CONTEXT, "cy", hybrid_row, {}),
        ),
        "hybrid-delivered-shares": _message(
            m.DeliveredShares,
            m.DeliveredShares(CONTEXT, "cy", hybrid_row, contributed),
            m.DeliveredShares(CONTEXT, "ann", hybrid_row, {}),
        ),
        "hybrid-decrypt-request": _message(
            DecryptRequest,
            DecryptRequest(CONTEXT, {"bob": bytes(64)}, _opened({"cy": contributed})),
            DecryptRequest(CONTEXT, {"bob": bytes(64)}, _opened({"ann": {}})),
        ),
        "masked-input": _message(
            m.MaskedInput,
            m.MaskedInput(CONTEXT, "ann", vector32),
            m.MaskedInput(CONTEXT, "ann", vector64),
        ),
        "survivor-set": _message(m.SurvivorSet, m.SurvivorSet(CONTEXT, ("ann", "bob"))),
        "consistency-signature": _message(
            m.ConsistencySignature, m.ConsistencySignature(CONTEXT, "ann", bytes(64))
        ),
        "unmask-request": _message(
            m.UnmaskRequest,
            m.UnmaskRequest(CONTEXT, ("ann", "bob"), {"ann": bytes(64), "bob": bytes(64)}),
        ),
        "unmask-reply": _message(
            m.UnmaskReply,
            m.UnmaskReply(CONTEXT, "ann", {"ann": bytes(33)}, {"bob": bytes(33)}),
            m.UnmaskReply(CONTEXT, "ann", {"ann": bytes(33), "bob": bytes(33)}, {}),
        ),
        **{name: _message(kind, *seeds) for name, (kind, seeds) in encrypted_seeds().items()},
        "share": Parser(
            lambda data: Share.from_bytes(1, data), lambda share: share.to_bytes(), (bytes(33),)
        ),
        "identity-file": Parser(
            parse_identity,
            lambda stored: stored.to_bytes(),
            (store_identity("ann", ann, None, random).to_bytes(),),
        ),
        "registry-file": Parser(
            parse_registry,
            lambda known: known.to_bytes(),
            (registry.to_bytes(), registry.revoke("bob", "left").to_bytes()),
            to_json=canonical_json,
        ),
        "rotation-file": Parser(
            parse_rotation,
            lambda rotation: rotation.to_bytes(),
            (Rotation.sign("ann", ann, bob).to_bytes(),),
            to_json=canonical_json,
        ),
        **log_parsers(),
        **{name: Parser(**parts) for name, parts in transcript_parts().items()},
    }


def _opened(contributions: Contributions) -> OpenedSecrets:
    dropped = dict.fromkeys(contributions, b"d" * 32)
    return OpenedSecrets({"bob": b"s" * 32}, dropped, contributions)


def check(parser: Parser, data: bytes) -> bool:
    """Whether `data` is accepted; raises what a finding is.

    Raises:
        AssertionError: accepted, but not the one encoding of what was read, or too slow.
        Exception: whatever a parser with a fault lets through.
    """
    began = time.process_time()
    try:
        read = parser.parse(data)
    except CryptoError:
        accepted = False
    else:
        accepted = True
        assert parser.write(read) == data, "accepted, but not canonical"
    seconds = time.process_time() - began
    assert seconds < SLOWEST, f"took {seconds:.1f} s of CPU"
    return accepted


def mutate(parser: Parser, random: np.random.Generator, start: bytes = b"") -> bytes:
    """A broken input: `start`, or else one of the seeds, with up to five changes."""
    seed = start or parser.seeds[random.integers(len(parser.seeds))]
    if parser.is_message and random.random() < 0.4:
        seed = _change_field(seed, random)
    elif parser.to_json is not None and random.random() < 0.4:
        seed = _change_json(seed, parser.to_json, random)
    data = bytearray(seed)
    for _ in range(random.integers(0, 5)):
        _change_bytes(data, parser.seeds, random)
    return bytes(data[: parser.longest])


def _change_field(seed: bytes, random: np.random.Generator) -> bytes:
    """The message with one field changed, removed or added: canonical, but not of its kind."""
    try:
        fields = decode(seed)
    except CryptoError:  # libFuzzer keeps broken inputs too
        return seed
    names = [*fields, "extra"]
    name = names[random.integers(len(names))]
    if random.random() < 0.1:
        fields.pop(name, None)
    else:
        fields[name] = ODD[random.integers(len(ODD))]
    return encode(fields)


def _change_json(seed: bytes, write: Callable[[Any], bytes], random: np.random.Generator) -> bytes:
    """The JSON text with one value, at any depth, changed, removed or added, in its one form."""
    try:
        root = inside = json.loads(seed)
    except ValueError:  # libFuzzer keeps broken inputs too
        return seed
    while isinstance(inside, dict | list) and inside:
        places = [*inside] if isinstance(inside, dict) else range(len(inside))
        place = places[random.integers(len(places))]
        if random.random() < 0.5 and isinstance(inside[place], dict | list):
            inside = inside[place]
            continue
        match random.integers(8):
            case 0:
                del inside[place]
            case 1 if isinstance(inside, dict):
                inside["extra"] = inside[place]
            case 1:
                inside.append(inside[place])
            case _:
                inside[place] = ODD_JSON[random.integers(len(ODD_JSON))]
        break
    try:
        return write(root)
    except (ValueError, TypeError):  # no such text: a lone surrogate, or not in RFC 8785
        return seed


def _change_bytes(data: bytearray, seeds: tuple[bytes, ...], random: np.random.Generator) -> None:
    at = int(random.integers(len(data) + 1))
    end = min(len(data), at + int(random.integers(1, 9)))
    match random.integers(8):
        case 0 if at < len(data):
            data[at] ^= 1 << int(random.integers(8))
        case 1 if at < len(data):
            data[at] = (0, 1, 0x7F, 0x80, 0xFF, 0x0A)[random.integers(6)]
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = random.bytes(int(random.integers(1, 9)))
        case 4:
            data[at:at] = data[at:end]
        case 5:
            del data[at:]
        case 6:  # a length field far too large, or one more or less
            data[at : at + 4] = (0, 1, 2**31, 2**32 - 1, end)[random.integers(5)].to_bytes(
                4, "little"
            )
        case _:
            other = seeds[random.integers(len(seeds))]
            data[at:] = other[at:]


def fuzz(name: str, inputs: int, seed: int) -> dict[str, Any]:
    """Check `inputs` mutations of one parser's seeds; what was seen, `finding` None if nothing."""
    parser = parsers()[name]
    random = np.random.Generator(np.random.PCG64([seed, *name.encode()]))
    began, accepted, data = time.process_time(), 0, b""
    finding: str | None = None
    try:
        for data in parser.seeds:
            assert check(parser, data), "a seed is refused"
        for _ in range(inputs):
            data = mutate(parser, random)
            accepted += check(parser, data)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what we look for
        finding = f"{type(error).__name__}: {error}; input {data.hex()}"
    return {
        "parser": name,
        "inputs": inputs,
        "accepted": accepted,
        "cpu_seconds": round(time.process_time() - began, 2),
        "finding": finding,
    }


def fuzz_with_atheris(name: str, inputs: int, seed: int) -> dict[str, Any]:
    """The same by coverage, in a process of its own, which libFuzzer ends itself."""
    parser = parsers()[name]
    longest = parser.longest
    with tempfile.TemporaryDirectory() as corpus:
        for i, data in enumerate(parser.seeds):
            (Path(corpus) / f"seed-{i}").write_bytes(data)
        began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run = subprocess.run(  # noqa: S603  # this very script
            [
                sys.executable, str(Path(__file__).with_name("fuzz_atheris.py")), name,
                f"-runs={inputs}", f"-seed={seed + 1}", f"-max_len={longest}", "-timeout=5",
                "-rss_limit_mb=2048", "-print_final_stats=1", corpus,
            ],
            capture_output=True, text=True, errors="replace", cwd=corpus, check=False,
        )  # fmt: skip
        words = run.stderr
        covered = [line for line in words.splitlines() if " cov: " in line]
        return {
            "parser": name,
            "inputs": inputs,
            "coverage": covered[-1].split(" cov: ")[1].split()[0] if covered else None,
            "cpu_seconds": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began, 2),
            "finding": words[-2000:] if run.returncode else None,
        }


def main() -> int:
    """Fuzz the chosen parsers, one JSON line each; 1 if anything was found."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--inputs", type=int, default=20_000, help="inputs a parser")
    arguments.add_argument("--parser", choices=sorted(parsers()), help="only this parser")
    arguments.add_argument("--engine", choices=("mutation", "atheris"), default="mutation")
    arguments.add_argument("--seed", type=int, default=0)
    chosen = arguments.parse_args()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, used + MEMORY))
    engine = fuzz if chosen.engine == "mutation" else fuzz_with_atheris
    found = False
    for name in [chosen.parser] if chosen.parser else parsers():
        result = engine(name, chosen.inputs, chosen.seed)
        found |= result["finding"] is not None
        print(json.dumps(result), flush=True)
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
