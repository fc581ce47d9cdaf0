"""docs/audit.md and docs/formats/transcript.md name what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from feddiff_secure.audit import prove
from feddiff_secure.audit.passed import Evidence
from feddiff_secure.audit.verdict import STEPS
from feddiff_secure.cli.main import run_cli
from feddiff_secure.report import owner_files
from feddiff_secure.transcript import files, leaves
from feddiff_secure.transcript.digests import END_LABEL, RUN_LABEL

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "audit.md").read_text(encoding="utf-8")
FORMAT = (DOCS / "formats" / "transcript.md").read_text(encoding="utf-8")


def test_the_page_has_the_steps_of_the_command() -> None:
    for number, name in enumerate(STEPS, start=1):
        assert f"\n{number}. {name} " in PAGE
    table = PAGE.split("## What each step shows")[1].split("\n## ")[0]
    assert re.findall(r"^\| (\d) \|", table, re.MULTILINE) == [str(n) for n in range(1, 9)]


def test_the_commands_on_the_page_exist() -> None:
    named = set(re.findall(r"audit (verify|prove|check-proof|prune|attack|report)", PAGE))
    assert named == {"verify", "prove", "check-proof", "prune", "attack", "report"}
    for command in named:
        assert run_cli(["audit", command, "--help"]) == 0


def test_the_page_has_the_files_and_words_of_a_report() -> None:
    part = PAGE.split("## For a data owner")[1].split("\n## ")[0]
    for name in (owner_files.PAGE, owner_files.JSON, owner_files.UNSIGNED, owner_files.SIGNED):
        assert f"`{name}`" in part
    for word in Evidence:
        assert f"`{word.value}`" in part
    statement = owner_files.report_statement(
        {
            "verdict": {"verified": True, "failed_step": None, "identities_pinned": False},
            "run": None, "log": None, "format": "", "version": 1, "code_version": "", "owner": "",
        },
        {"report.json": b""},
    )  # fmt: skip
    row = (DOCS / "formats" / "attestation.md").read_text(encoding="utf-8")
    (line,) = [found for found in row.splitlines() if "attestation/audit/v1" in found]
    assert set(statement.predicate) <= set(re.findall(r"`(\w+)`", line))


def test_the_format_has_every_leaf_with_its_fields() -> None:
    for name, kind in leaves._KINDS.items():
        assert f"### `{name}`" in FORMAT, kind
    part = FORMAT.split("### `round/1`")[1].split("\n### ")[0]
    example = leaves.RoundLeaf(
        leaves.AttemptKey("train", 0, 0), "plain", bytes(32), {}, bytes(32)
    ).to_json()
    assert set(example) - {"kind"} == set(re.findall(r"`(\w+)`(?=[^|]* \|)", "\n".join(
        line.split("|")[1] + " |" for line in part.splitlines() if line.startswith("| `")
    )))  # fmt: skip


def test_the_format_has_the_names_and_labels_of_the_code() -> None:
    for name in (files.LEAVES, files.CHECKPOINTS, files.ROSTERS, files.VECTORS, files.PRUNED):
        assert name in FORMAT
    for word in (RUN_LABEL, END_LABEL, prove.HEADER.encode(), files.ATTESTATION.encode()):
        assert word.decode() in FORMAT
