"""Accounting is a pure function and takes a second: many small runs of one plan share it."""

from __future__ import annotations

from typing import Any

import pytest

import feddiff_secure.audit.privacy
import feddiff_secure.audit.roster
import feddiff_secure.federation.node
import tests.support.transcripts

_KEPT: dict[tuple[str, str], Any] = {}


def memoise_accounting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute plan, check and statement of one configuration once; errors are not kept."""
    for module, name in (
        (feddiff_secure.audit.privacy, "privacy_statement"),
        (feddiff_secure.audit.roster, "check_plan"),
        (feddiff_secure.federation.node, "check_plan"),
        (tests.support.transcripts, "plan_for"),
        (tests.support.transcripts, "privacy_statement"),
    ):
        whole = getattr(module, name)

        def kept(*args: Any, _whole: Any = whole, _name: str = name, **options: Any) -> Any:
            named = {k: v for k, v in options.items() if k != "second_opinion"}
            key = (_name, repr((args, named)))
            if key not in _KEPT:
                _KEPT[key] = _whole(*args, **options)
            return _KEPT[key]

        monkeypatch.setattr(module, name, kept)
