"""What the errors of the key and registry files mean to a user: an exit code and a hint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from feddiff_crypto.errors import (
    CryptoError,
    FileRefusedError,
    PassphraseError,
    RegistryRefusedError,
    RevokedKeyError,
    SignatureInvalidError,
)
from feddiff_secure.errors import DataError, UsageError, VerificationError


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Turn errors of `feddiff_crypto` into those of the command line.

    Raises:
        VerificationError: a signature that does not verify, or a revoked key (exit 6).
        UsageError: a wrong passphrase, or a change that the registry's rules forbid (exit 2).
        DataError: a file that is missing, too open, or not of its format (exit 3).
    """
    try:
        yield
    except SignatureInvalidError as error:
        raise VerificationError(
            str(error), "ask the organisation for the statement again"
        ) from error
    except RevokedKeyError as error:
        hint = "pin a new key with registry add, after comparing its fingerprint"
        raise VerificationError(str(error), hint) from error
    except PassphraseError as error:
        raise UsageError(str(error), "give the right --passphrase-file, or none") from error
    except RegistryRefusedError as error:
        hint = "see registry show; --replace overrides an entry on your own word"
        raise UsageError(str(error), hint) from error
    except FileRefusedError as error:
        hint = "check the path; a key has mode 0600, a registry is writable by its owner only"
        raise DataError(str(error), hint) from error
    except CryptoError as error:
        raise DataError(str(error), "get the file again from whoever made it") from error


@contextmanager
def as_verification(what: str, hint: str) -> Iterator[None]:
    """Whatever does not hold about `what`, as exit code 6.

    Raises:
        VerificationError: with the evidence.
    """
    from feddiff_secure.audit.verdict import StepFailedError  # noqa: PLC0415  # numpy can wait

    try:
        yield
    except (CryptoError, StepFailedError) as error:
        raise VerificationError(f"{what}: {error}", hint) from error
