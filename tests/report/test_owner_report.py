"""The report for a data owner: strict, escaped, and saying what its JSON and the run say."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feddiff_crypto.attest.statement import AUDIT_PREDICATE, parse_statement, verify_attestation
from feddiff_crypto.encoding import encode
from feddiff_crypto.identity_file import write_identity
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.ledger.reading import read_ledger
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.cli.main import run_cli
from feddiff_secure.report.owner_page import MOST_BYTES, formatted, look_up, owner_page
from tests.support.memoised import memoise_accounting
from tests.support.pages import Page
from tests.support.transcripts import Parties, finished_run, small_config

OWNER = "owner-002"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
HOSTILE = "</td></data><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*1234567 }}"
ATTACK: dict[str, Any] = {
    "version": 1,
    "run": "/somebody/at/home",
    "claimed": {"epsilon": 8.0, "delta": 1e-4},
    "lower_bounds": [{"method": "one run", "epsilon": 0.25, "ceiling": None, "right": 612}],
    "claim_refuted": False,
    "1/2~strange": {"<u>name": HOSTILE},
}


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Parties]:
    """One finished run with a map, not to be changed."""
    directory = tmp_path_factory.mktemp("kept") / "run"
    people = finished_run(directory, small_config(lifetime_epsilon=20.0))
    return directory, people


@pytest.fixture
def run(kept: tuple[Path, Parties], tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(kept[0], tmp_path / "run"))


def report(run: Path, out: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and page."""
    code = run_cli(["audit", "report", str(run), "--owner", OWNER, "--out", str(out), *options])
    return code, json.loads((out / "report.json").read_text()), (out / "report.html").read_text()


def attacks(folder: Path, content: dict[str, Any] = ATTACK, picture: bytes = PNG) -> str:
    folder.mkdir()
    (folder / "canary.json").write_text(json.dumps(content))
    (folder / "canary.png").write_bytes(picture)
    return str(folder)


def strings(value: Any) -> list[str]:
    """Every text in a JSON value, names included."""
    if isinstance(value, dict):
        return [*value, *(found for item in value.values() for found in strings(item))]
    if isinstance(value, list):
        return [found for item in value for found in strings(item)]
    return [value] if isinstance(value, str) else []


def test_every_number_on_the_page_is_the_one_in_the_json(run: Path, tmp_path: Path) -> None:
    code, content, html = report(run, tmp_path / "out", "--attacks", attacks(tmp_path / "attacks"))
    assert code == 0
    page = Page.of(html)
    assert len(page.numbers) > 150
    for raw, path, text in page.numbers:
        value = look_up(content, path)
        assert raw == ("" if value is None else repr(value)), path
        assert text == formatted(value), path
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert math.isclose(float(text.replace(",", "")), value, rel_tol=1e-4), path
    # A digit that is not in a number is part of a text of the JSON, or of the page's own words.
    known = " ".join(strings(content)).replace("_", " ") + " step 5 MB 256 SHA-256"
    for text in page.texts:
        for digits in re.findall(r"\d[\w.]*", text):
            assert digits.rstrip(".") in known, text


def test_the_json_says_what_verifier_ledger_and_statement_say(
    kept: tuple[Path, Parties], tmp_path: Path
) -> None:
    run, people = kept
    _, content, _ = report(run, tmp_path / "out")
    verdict = verify_run(run).to_json()
    assert content["verdict"] == {**verdict, "identities_pinned": False}
    ledger = read_ledger(run / "ledger" / f"{OWNER}.default.jsonl")
    budget = content["budget"]
    assert (budget["spent"]["epsilon"], budget["left"]) == (ledger.spent, ledger.left)
    assert budget["lifetime_epsilon"] == 20.0
    assert budget["this_run"] == [
        {"phase": "count", "spent": 1, "vectors_in_log": 1},
        {"phase": "train", "spent": 3, "vectors_in_log": 3},
    ]
    stated = json.loads((run / "privacy.json").read_text())
    for shown, row in zip(content["privacy"]["adversaries"], stated["adversaries"], strict=True):
        assert {n: row[n] for n in shown if n != "who"} == {
            n: v for n, v in shown.items() if n != "who"
        }
    assert content["privacy"]["not_covered"] == stated["not_covered"]
    messages = content["messages"]
    for direction in ("sent", "received"):
        rows = [m for m in messages["list"] if m["direction"] == direction]
        kinds = [k for k in messages["by_kind"] if k["direction"] == direction]
        total = sum(m["bytes"] for m in rows)
        assert total == messages[direction]["bytes"] == sum(k["bytes"] for k in kinds)
    # What the transport counted, less whether the owner is there: asked before the count and every
    # round, and not in the log.
    there = 4 * len(encode({"ready": True})), 4 * len(encode({}))
    assert messages["sent"]["bytes"] == people.exchange.traffic.up[OWNER] - there[0]
    assert messages["received"]["bytes"] == people.exchange.traffic.down[OWNER] - there[1]
    head = ledger.head
    assert head not in json.dumps(content["budget"])  # it is the verifier's business


def test_nothing_on_the_page_is_fetched_run_or_led_to(run: Path, tmp_path: Path) -> None:
    (run / "map.png").write_bytes(PNG)
    _, _, html = report(run, tmp_path / "out", "--attacks", attacks(tmp_path / "attacks"))
    page = Page.of(html)
    assert not page.tags & {"script", "iframe", "object", "embed", "link", "a", "form", "base"}
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in {"src", "href", "xlink:href", "action", "poster", "srcset"}:
            assert value.startswith(("data:image/png;base64,", "#")), value
        assert not re.search(r"url\((?!#)", value), value
    assert "://" not in html
    policy = [v for t, n, v in page.attributes if t == "meta" and n == "content"]
    assert any(value.startswith("default-src 'none'") for value in policy)
    assert len([1 for tag, name, _ in page.attributes if (tag, name) == ("img", "src")]) == 2


def change_statement(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    stated = json.loads((run / "privacy.json").read_text())
    change(stated)
    (run / "privacy.json").write_text(json.dumps(stated))


def test_hostile_texts_are_shown_as_texts(run: Path, tmp_path: Path) -> None:
    def hostile(stated: dict[str, Any]) -> None:
        stated["adversaries"][0] |= {"name": HOSTILE, "assumption": HOSTILE}
        stated["assumptions"][0] = stated["not_covered"][0] = stated["noise"] = HOSTILE
        stated["data_accesses"][0] |= {"what": HOSTILE, "how": HOSTILE}

    change_statement(run, hostile)
    folder = attacks(tmp_path / "attacks")
    (tmp_path / "attacks" / "canary.json").rename(tmp_path / "attacks" / "<b>&'\".json")
    code, _, html = report(run, tmp_path / "out", "--attacks", folder)
    assert code == 6  # the statement was changed
    page = Page.of(html)
    assert not page.tags & {"script", "u"}
    assert ("img", "onerror", "alert(2)") not in page.attributes
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert "8641969" not in html  # no template is run
    assert sum(text.count(HOSTILE) for text in page.texts) >= 6
    assert "<b>&'\".json" in "".join(page.texts)
    assert "/somebody/at/home" not in html


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def drop_leaf(run: Path) -> None:
    path = run / "transcript" / "leaves.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[4:]))


TAMPERED: dict[str, tuple[Callable[[Path], object], int, bool]] = {
    "model": (lambda run: flip(run / "model.safetensors"), 4, True),
    "epsilon": (lambda run: change_statement(run, lambda s: s.update(epsilon=1.0)), 5, True),
    "a file added": (lambda run: (run / "note.txt").write_text("hello"), 7, True),
    "a leaf lost": (drop_leaf, 2, False),
    "no log": (lambda run: (run / "transcript" / "leaves.jsonl").unlink(), 1, False),
    "rosters": (lambda run: (run / "transcript" / "rosters.jsonl").write_text("{}\n"), 3, False),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_run_that_was_tampered_with_is_reported_as_failed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    tamper, step, listed = TAMPERED[name]
    tamper(run)
    code, content, html = report(run, tmp_path / "out")
    assert code == 6
    assert f"step {step} (" in capsys.readouterr().err
    assert content["verdict"]["failed_step"] == step
    assert (content["messages"] is not None) == listed
    assert listed or content["missing"]
    words = " ".join(Page.of(html).texts)
    assert "FAILED" in words
    assert "Verified" not in words
    statement = parse_statement((tmp_path / "out" / "statement.json").read_bytes())
    assert (statement.predicate["verified"], statement.predicate["failed_step"]) == (False, step)


def test_a_statement_of_another_form_is_not_shown_and_the_page_says_why(
    run: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"epsilon": "8", "adversaries": [7], "not_covered": [1], "levels": 3}
    whole = (run / "privacy.json").read_text()
    for number, (name, value) in enumerate(changes.items()):
        (run / "privacy.json").write_text(whole)
        change_statement(run, lambda stated, n=name, v=value: stated.update({n: v}))  # type: ignore[misc]  # bound now
        _, content, html = report(run, tmp_path / str(number))
        assert content["privacy"] is None
        assert name in content["missing"]["privacy"]
        assert content["missing"]["privacy"] in "".join(Page.of(html).texts)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--owner", "owner-009"], 2, "not in this run"),
        (["--owner", "<b>"], 2, "no party name"),
        (["--out", "run/report"], 2, "inside the run"),
        (["--out", "run"], 2, "inside the run"),
        (["--out", "taken"], 2, "exists"),
        (["--out", "inside/report"], 2, "inside the run"),
        (["--out", "nowhere/report"], 2, "not a directory"),
        (["--attacks", "nowhere"], 2, "not a directory"),
        (["--attacks", "taken"], 3, "0 results"),
        (["--ledger", "nowhere"], 2, "not a directory"),
        (["--registry", "nowhere"], 3, "nowhere"),
        (["--identity", "other.key"], 2, "is of somebody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_leave_nothing(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    options: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "inside").symlink_to(run)
    key = IdentityKey.generate(SecureRandom())
    write_identity(tmp_path / "other.key", "somebody", key, None, SecureRandom())
    before = sorted(tmp_path.rglob("*"))
    base = {"--owner": OWNER, "--out": "out"} | {options[0]: options[1]}
    given = [part for option in base.items() for part in option]
    assert run_cli(["audit", "report", "run", *given]) == code
    assert words in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"version": 2, "claimed": {}}',
        '{"version": 1}',
        '{"version": 1, "claimed": {"epsilon": NaN}}',
        '{"version": 1, "claimed": {"epsilon": 1e999}}',
        '{"version": 1, "claimed": {}, "deep": ' + "[" * 9 + "]" * 9 + "}",
        '{"version": 1, "claimed": {}, "long": "' + "x" * 300_000 + '"}',
    ],
    ids=lambda content: content[:40],
)
def test_what_is_no_result_of_an_attack_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "a.json").write_text(content)
    options = ["--owner", OWNER, "--out", str(tmp_path / "out")]
    options += ["--attacks", str(tmp_path / "attacks")]
    assert run_cli(["audit", "report", str(run), *options]) == 3
    assert "a.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_none_is_not_shown(run: Path, tmp_path: Path) -> None:
    (run / "map.png").write_text("<svg onload=alert(1)>")
    folder = attacks(tmp_path / "attacks", picture=b"GIF89a")
    _, content, html = report(run, tmp_path / "out", "--attacks", folder)
    assert content["pictures"] == []
    assert "img" not in Page.of(html).tags


def test_the_known_results_of_attacks_are_tables_and_everything_else_is_folded_under_them(
    run: Path, tmp_path: Path
) -> None:
    bound = {"method": "m", "epsilon": 0.25, "ceiling": None, "confidence": 0.95}
    shot = {"observed": "update", "identified": 0.5, "chance": 0.01, "interval": [0.4, 0.6]}
    content = {
        **ATTACK,
        "lower_bounds": [bound | {"guesses": 150, "right": 135}, bound, 7],
        "attacks": [shot | {"verdict": HOSTILE}, shot | {"interval": [1], "verdict": "short"}],
        "estimate": {"epsilon": [1]},
        "membership_inference": "none",
    }
    folder = attacks(tmp_path / "attacks", content)
    page = Page.of(report(run, tmp_path / "out", "--attacks", folder)[2])
    paths = [path.removeprefix("attacks/0/content/") for _, path, _ in page.numbers]
    assert paths.count("lower_bounds/0/right") == 2  # in the table, and under it
    assert paths.count("attacks/0/interval/1") == 2
    assert paths.count("lower_bounds/1/epsilon") == 1  # not all cells of its row are there
    assert paths.count("attacks/1/identified") == 1
    assert not page.tags & {"script", "u"}


def test_pictures_for_which_a_page_has_no_room_are_left_out(run: Path, tmp_path: Path) -> None:
    (run / "map.png").write_bytes(PNG + bytes(2_000_000))
    folder = attacks(tmp_path / "attacks", picture=PNG + bytes(900_000))
    _, content, html = report(run, tmp_path / "out", "--attacks", folder)
    assert [picture["file"] for picture in content["pictures"]] == ["map.png"]
    assert len(html.encode()) < MOST_BYTES


def test_an_attack_on_another_claim_or_one_that_refutes_it_is_said_to_be_so(
    run: Path, tmp_path: Path
) -> None:
    other = {**ATTACK, "claimed": {"epsilon": 3.0}, "claim_refuted": True}
    folder = attacks(tmp_path / "attacks", other)
    words = " ".join(Page.of(report(run, tmp_path / "out", "--attacks", folder)[2]).texts)
    assert "another claim than this run's" in words
    assert "A lower bound exceeds the claimed ε" in words
    stated = json.loads((run / "privacy.json").read_text())
    same = {**ATTACK, "claimed": {"epsilon": stated["epsilon"]}}
    folder = attacks(tmp_path / "same", same)
    words = " ".join(Page.of(report(run, tmp_path / "again", "--attacks", folder)[2]).texts)
    assert "another claim" not in words
    assert "exceeds" not in words


def test_the_statement_is_the_owners_and_over_both_files(
    kept: tuple[Path, Parties], tmp_path: Path
) -> None:
    run, people = kept
    random = SecureRandom()
    strange = IdentityKey.generate(random)
    for name, key in (("own", people.keys[OWNER]), ("strange", strange)):
        write_identity(tmp_path / f"{name}.key", OWNER, key, None, random)
        out = tmp_path / name
        _, content, html = report(run, out, "--identity", str(tmp_path / f"{name}.key"))
        data = (out / "statement.dsse.json").read_bytes()
        pins = Registry({OWNER: key.public})
        statement = verify_attestation(data, pins, [OWNER], AUDIT_PREDICATE)
        assert statement.subjects == {
            name: hashlib.sha256((out / name).read_bytes()).digest()
            for name in ("report.html", "report.json")
        }
        assert statement.predicate["verified"] is True
        assert statement.predicate["log"] == content["log"]
        assert content["signer"]["same_key_as_log"] is (name == "own")
        words = " ".join(Page.of(html).texts)
        assert ("not the key that this run's log names" in words) == (name == "strange")
        assert not (out / "statement.json").exists()


def test_with_pinned_keys_the_report_says_so_and_with_others_it_fails(
    kept: tuple[Path, Parties], tmp_path: Path
) -> None:
    run, people = kept
    (tmp_path / "good").write_bytes(people.pins().to_bytes())
    wrong = people.pins().put(OWNER, IdentityKey.generate(SecureRandom()).public, replace=True)
    (tmp_path / "bad").write_bytes(wrong.to_bytes())
    code, content, html = report(run, tmp_path / "a", "--registry", str(tmp_path / "good"))
    assert (code, content["verdict"]["identities_pinned"]) == (0, True)
    assert "not compared with a registry" not in html
    code, content, _ = report(run, tmp_path / "b", "--registry", str(tmp_path / "bad"))
    assert (code, content["verdict"]["failed_step"], content["messages"]) == (6, 1, None)


def test_an_owner_shows_its_own_ledger_alone(run: Path, tmp_path: Path) -> None:
    books = tmp_path / "books"
    books.mkdir()
    shutil.copy(run / "ledger" / f"{OWNER}.default.jsonl", books)
    code, content, _ = report(run, tmp_path / "out", "--ledger", str(books))
    assert (code, content["budget"]["attempts"]) == (0, 4)
    (books / f"{OWNER}.default.jsonl").rename(books / "owner-001.default.jsonl")
    code, content, html = report(run, tmp_path / "again", "--ledger", str(books))
    assert code == 6  # another's ledger under this one's name
    assert content["budget"] is None
    assert "not known here" in html


def test_of_a_ledger_of_several_runs_this_runs_attempts_are_told_apart(tmp_path: Path) -> None:
    books = tmp_path / "books"
    for rounds in (1, 2):
        config = small_config(epsilon=math.inf, noise="none", rounds=rounds)
        finished_run(tmp_path / f"run{rounds}", config, ledgers=books)
    code, content, _ = report(tmp_path / "run1", tmp_path / "out", "--ledger", str(books))
    assert code == 0
    assert (content["budget"]["plans"], content["budget"]["attempts"]) == (2, 5)
    spent = {row["phase"]: row["spent"] for row in content["budget"]["this_run"]}
    assert spent == {"count": 1, "train": 1}


def test_what_could_not_be_recomputed_is_not_called_verified(run: Path, tmp_path: Path) -> None:
    assert run_cli(["audit", "prune", str(run)]) == 0
    code, content, html = report(run, tmp_path / "out")
    words = " ".join(Page.of(html).texts)
    assert (code, content["verdict"]["verified"]) == (0, True)
    assert "Verified in part." in words
    assert "Every step was repeated" not in words
    assert content["messages"]["vectors"]["in_sums"] == 4  # their hashes stay


def test_a_page_of_a_very_long_run_stays_below_its_limit_and_says_what_it_leaves_out(
    run: Path, tmp_path: Path
) -> None:
    _, content, _ = report(run, tmp_path / "out")
    long = copy.deepcopy({**content, "signer": None})
    long["messages"]["list"] *= 200
    long["messages"]["by_release"] *= 2000
    html = owner_page(long, {"map.png": PNG + bytes(2_400_000 - len(PNG))})
    assert len(html.encode()) < MOST_BYTES
    assert html.count("report.json has them all") == 2
    with pytest.raises(ValueError, match="limit"):
        owner_page(long, {"map.png": PNG + bytes(MOST_BYTES)})


def test_the_report_needs_no_torch() -> None:
    code = (
        "import sys; import feddiff_secure.audit.owner_report, feddiff_secure.report.owner_files; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
