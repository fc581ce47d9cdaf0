"""The one error root of the package."""

from __future__ import annotations


class PrivacyError(Exception):
    """Root of every error this package raises on purpose."""


class UnsupportedEventError(PrivacyError):
    """An event or a number in it that no accountant here interprets."""


class CalibrationError(PrivacyError):
    """No noise in the supported range meets the target."""


class MechanismError(PrivacyError):
    """A mechanism was asked for with parameters outside its proven range."""


class AuditError(PrivacyError):
    """An empirical audit was given numbers that no bound is defined for."""
