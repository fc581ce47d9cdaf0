#!/usr/bin/env bash
# Build the wheel, install it alone into a fresh virtual environment that borrows this one's
# dependencies, and run the tool from it: what is missing from the wheel fails here.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
dependencies="$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

python -m build --wheel --no-isolation --outdir "$work/dist" "$root" >/dev/null
python -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps "$work"/dist/*.whl
site="$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
# Behind the wheel on the path; the borrowed editable install is not followed (its .pth is unread).
cd "$work"
export PYTHONPATH="$site:$dependencies"
"$work/venv/bin/python" - "$site" <<'PY'
import sys
import feddiff_crypto, feddiff_privacy, feddiff_secure
for package in (feddiff_crypto, feddiff_privacy, feddiff_secure):
    assert package.__file__.startswith(sys.argv[1]), package.__file__
PY
"$work/venv/bin/feddiff-secure" --version
"$work/venv/bin/python" "$root/scripts/make_tiny_table.py" "$work/tiny.h5"
"$work/venv/bin/feddiff-secure" data inspect "$work/tiny.h5" >/dev/null
"$work/venv/bin/feddiff-secure" run --data "$work/tiny.h5" --epsilon 8 --delta 1e-4 --rounds 3 \
    --owners 3 --out "$work/run" --quiet
test -s "$work/run/model.safetensors" && test -s "$work/run/privacy.md" && test -s "$work/run/map.png" \
    && test -s "$work/run/report.html"
"$work/venv/bin/feddiff-secure" predict "$work/run" --data "$work/tiny.h5" --out "$work/map.png" --quiet
echo "wheel smoke test passed"
