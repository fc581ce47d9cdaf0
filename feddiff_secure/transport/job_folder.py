"""Where a job carries its public files, whatever transports it."""

from __future__ import annotations

from typing import Final

PUBLIC_FOLDER: Final = "feddiff"
