"""Fuzz one parser by coverage: the part of fuzz_parsers.py that libFuzzer drives.

    python scripts/fuzz_atheris.py PARSER [libFuzzer options] CORPUS

A process of its own, because libFuzzer ends the process and because only modules that are imported
under `instrument_imports` report coverage. Half of the mutations are libFuzzer's, half those of
`fuzz_parsers.mutate` applied to what libFuzzer found worth keeping.
"""

from __future__ import annotations

import sys

import atheris
import numpy as np

with atheris.instrument_imports(
    include=["feddiff_crypto", "feddiff_secure.transcript", "feddiff_secure.audit"]
):
    from fuzz_parsers import check, mutate, parsers


def main() -> None:
    """Hand one parser to libFuzzer."""
    parser = parsers()[sys.argv[1]]

    def test_one(data: bytes) -> None:
        check(parser, data)

    def mutate_one(data: bytes, max_size: int, seed: int) -> bytes:
        random = np.random.Generator(np.random.SFC64(seed))
        if random.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return mutate(parser, random, data)[:max_size]

    atheris.Setup([sys.argv[0], *sys.argv[2:]], test_one, custom_mutator=mutate_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
