"""No module of the packages is longer than 400 lines: one concept a file."""

from __future__ import annotations

import sys
from pathlib import Path

MOST_LINES = 400


def main() -> int:
    """Print the modules that are too long; 1 if there are any."""
    root = Path(__file__).resolve().parent.parent
    folders = ("feddiff_secure", "crypto", "privacy", "benchmarks", "scripts")
    long = {
        path.relative_to(root): lines
        for folder in folders
        for path in sorted((root / folder).rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    for path, lines in long.items():
        print(f"{path}: {lines} lines, at most {MOST_LINES}")
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main())
