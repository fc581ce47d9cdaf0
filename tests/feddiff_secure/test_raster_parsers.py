"""Parsers of headers, manifests and ROI text: any bytes give a value or a DataError."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feddiff_secure.data.raster.envi_header import check_data_size, data_file, read_envi_header
from feddiff_secure.data.raster.manifest import read_manifest
from feddiff_secure.data.roi_text import read_roi_text
from feddiff_secure.errors import DataError

HEADER = """ENVI
description = { a scene
  over two lines }
; a comment
samples = 4
lines   = 3
bands = 2
header offset = 8
data type = 12
interleave = bil
byte order = 1
wavelength units = Nanometers
Wavelength = { 450.5,
 600 }
"""
MANIFEST = 'hsi = {file = "a.tif", scale = [1, 2.5]}\nlabels = ["a.txt", "b.txt"]\ngrid = "hsi"\n'
ROI = """; ENVI Output of ROIs (4.8)
; File Dimension: 4 x 3
; ROI name: a
; ROI rgb value: {1, 2, 3}
; ROI npts: 2
; ID X Y
 1 1 1
 2 4 3
"""


@pytest.mark.parametrize(
    ("name", "text"), [("a.hdr", HEADER), ("scene.toml", MANIFEST), ("roi.txt", ROI)]
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_text_is_never_more_than_a_refusal(
    tmp_path: Path, name: str, text: str, data: st.DataObject
) -> None:
    raw = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    path = tmp_path / name
    path.write_bytes(raw)
    with contextlib.suppress(DataError):
        if name == "a.hdr":
            (tmp_path / "a.img").write_bytes(bytes(56))
            header = read_envi_header(path)
            header.class_names()
            header.class_colours()
            header.numbers("wavelength")
            check_data_size(header, data_file(path))
        elif name == "scene.toml":
            read_manifest(path)
        else:
            read_roi_text(path)


def test_the_sound_texts_are_read(tmp_path: Path) -> None:
    for name, text in (("a.hdr", HEADER), ("scene.toml", MANIFEST), ("roi.txt", ROI)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "a.img").write_bytes(bytes(8 + 4 * 3 * 2 * 2))
    header = read_envi_header(tmp_path / "a.hdr")
    check_data_size(header, data_file(tmp_path / "a.hdr"))
    assert header.text("description") == "a scene over two lines"
    assert header.numbers("wavelength") == (450.5, 600.0)
    files = read_manifest(tmp_path / "scene.toml")
    assert files.layers["hsi"].scale == (1.0, 2.5)
    assert [source.file.name for source in files.more_labels] == ["b.txt"]
    assert read_roi_text(tmp_path / "roi.txt").label.sum() == 2
