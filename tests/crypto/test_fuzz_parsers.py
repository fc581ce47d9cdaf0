"""Every parser against mutated bytes and the collected attacks: named errors only."""

from __future__ import annotations

import importlib.util
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import feddiff_crypto.errors
from feddiff_crypto.errors import CryptoError
from feddiff_crypto.shamir import SHARE_BYTES

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.append(str(SCRIPTS))  # the scripts import each other
INPUTS = 20_000
MAX_GROWTH = 2**28  # bytes of peak memory, above the start, that all inputs of a parser may take


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


sys.path.append(str(SCRIPTS))  # scripts import each other, as they do when they are run
FUZZ = script("fuzz_parsers")
BAD = script("make_bad_messages")
PARSERS = FUZZ.parsers()


@pytest.mark.parametrize("name", PARSERS)
def test_twenty_thousand_broken_inputs_meet_only_named_errors(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = FUZZ.fuzz(name, INPUTS, seed=1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert result["finding"] is None
    assert 0 < result["accepted"] < INPUTS * 0.8, "the inputs are not a mix of good and broken"
    assert (after - before) * 1024 < MAX_GROWTH


def check_mutations(parser: Any) -> None:
    random = np.random.Generator(np.random.PCG64(0))
    for _ in range(INPUTS):
        FUZZ.check(parser, FUZZ.mutate(parser, random))


def test_the_fuzzer_finds_an_error_without_a_name() -> None:
    """A parser with a fault that one byte in 256 at one place triggers."""

    def faulty(data: bytes) -> bytes:
        if len(data) != SHARE_BYTES:
            raise CryptoError("length")
        return data[: 33 - 1 // (data[7] ^ 0x40)]

    parser = FUZZ.Parser(faulty, lambda data: data, (bytes(SHARE_BYTES),))
    with pytest.raises(ZeroDivisionError):
        check_mutations(parser)


def test_the_fuzzer_finds_bytes_with_two_encodings() -> None:
    parser = FUZZ.Parser(lambda data: data.lower(), lambda data: data, (b"abc",))
    with pytest.raises(AssertionError, match="canonical"):
        check_mutations(parser)


def test_the_script_still_makes_the_collected_attacks() -> None:
    files = BAD.build()
    assert {path.name for path in BAD.FOLDER.iterdir()} == set(files)
    for name, data in files.items():
        assert (BAD.FOLDER / name).read_bytes() == data


@pytest.mark.parametrize("bad", BAD.attacks(), ids=lambda bad: bad.file)
def test_a_collected_attack_is_refused_by_name(bad: Any) -> None:
    error = getattr(feddiff_crypto.errors, bad.error)
    with pytest.raises(error, match=bad.words) as caught:
        PARSERS[bad.parser].parse((BAD.FOLDER / bad.file).read_bytes())
    assert type(caught.value) is error


def test_every_parser_has_a_collected_attack() -> None:
    attacked = {bad.parser for bad in BAD.attacks()}
    assert set(PARSERS) - attacked == {"delivered-shares"}  # the mirror image of sealed shares
