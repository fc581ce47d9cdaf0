"""How well the shipped branches reconstruct and generate: tables and picture of docs/results.md.

    python scripts/prior_quality.py [--out DIR] [--tiles 32] [--samples 512] [--seed 0]
                                    [--conditional FILE]

No measured data is read. Reconstruction: 8×8 tiles of the built-in simulated scene, noised to a
step t and denoised by DDIM. The branches never saw that scene; they were trained on varied random
spectra and tiles. Generation: samples against fresh draws of that training simulator, with the
distance between two sets of such draws beside it as the least to expect. The branch models a
spectrum's shape, not its level or contrast: for angles and pictures every spectrum, real ones
that are compared with it included, takes both from the nearest spectrum of the library it is
compared with (pure materials, or pixels of the scene). A generated tile's pixels are independent.
With a branch of `make_conditional.py` also: does it draw the class it is asked for
(`conditional_quality.py`)? DIR gets `quality.json` and the picture.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conditional_quality import as_json, as_rows, load_conditional, measured, tiles_by_label
from scipy.fft import dctn

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.scene import Dataset
from feddiff_secure.data.simulate.heights import HEIGHT_UNIT_M, random_height_tiles
from feddiff_secure.data.simulate.materials import MATERIALS
from feddiff_secure.data.simulate.scene import simulated_scene
from feddiff_secure.data.simulate.spectra import random_spectra
from feddiff_secure.model.descriptors import dct_basis, pixels
from feddiff_secure.model.generation import (
    generated_heights,
    generated_spectra,
    level_and_contrast,
    reconstructed_heights,
    reconstructed_spectra,
    reflectance,
)
from feddiff_secure.model.inputs import lidar_signal
from feddiff_secure.model.prior import load_prior
from feddiff_secure.model.quality import (
    class_means,
    frechet_distance,
    nearest_mean,
    peak_signal_to_noise_ratio,
    spectral_angle,
    structural_similarity,
    within_class_spread,
)
from feddiff_secure.model.wavelengths import GRID_NM, Resampling, resampling, standardise
from feddiff_secure.report.tile_pictures import Stage, write_tile_pictures

SIDE = 8
STEPS = (50, 150, 300)  # to noise to, of 500
DDIM_RECONSTRUCTION, DDIM_GENERATION = 20, 50
EACH = 48  # conditional spectra a class and guidance
SHOWN = 3  # tiles in the picture
BANDS = 72  # of the simulated scene's sensor
WAVELENGTHS_NM = np.linspace(400.0, 1000.0, BANDS)
Rows = list[tuple[str, ...]]


def scene_tiles(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`count` tiles of the simulated scene: (n, B, 8, 8), (n, 2, 8, 8) and labels (n, 8, 8)."""
    tiles = cut_tiles(Dataset(scenes=(simulated_scene(seed),)), SIDE)
    block = next(iter(tiles))
    chosen = np.random.default_rng(seed).permutation(len(block))[:count]
    assert block.hsi is not None
    assert block.lidar is not None
    return block.hsi[chosen], block.lidar[chosen], block.label[chosen]


def spectra_as_tiles(rows: np.ndarray, count: int) -> np.ndarray:
    """(n·64, G) pixel rows to (n, G, 8, 8)."""
    return rows.reshape(count, SIDE, SIDE, -1).transpose(0, 3, 1, 2)


def reconstruction(
    hsi: np.ndarray, lidar: np.ndarray, sampling: Resampling, seed: int
) -> tuple[Rows, dict[int, tuple[np.ndarray, ...]]]:
    """A row a modality and step, and the tiles of every step for the picture."""
    seen = sampling.covered > 0
    spectra, count = pixels(hsi), len(hsi)
    level, contrast = level_and_contrast(spectra, sampling)
    real = reflectance(standardise(spectra, sampling), level, contrast, sampling)[:, seen]
    signal = lidar_signal(lidar)
    rows: Rows = []
    shown = {}
    for t in STEPS:
        generator = torch.Generator().manual_seed(1000 * seed + t)
        stages = [
            reflectance(standard, level, contrast, sampling)[:, seen]
            for standard in reconstructed_spectra(
                load_prior("hsi"),
                spectra,
                sampling,
                t=t,
                steps=DDIM_RECONSTRUCTION,
                generator=generator,
            )
        ]
        heights = reconstructed_heights(
            load_prior("lidar"), lidar, t=t, steps=DDIM_RECONSTRUCTION, generator=generator
        )
        cells = [f"HSI, t = {t}"]
        tiles = [spectra_as_tiles(each, count) for each in (real, *stages)]
        for found, tile in zip(stages, tiles[1:], strict=True):
            angle = np.degrees(spectral_angle(real, found).mean())
            cells.append(
                f"{peak_signal_to_noise_ratio(real, found, 1.0):.1f} dB, "
                f"{structural_similarity(tiles[0], tile, 1.0):.3f}, {angle:.1f}°"
            )
        rows.append(tuple(cells))
        cells = [f"LiDAR, t = {t}"]
        for found in heights:
            other = lidar_signal(found)
            metres = HEIGHT_UNIT_M * np.abs(found[:, 0] - lidar[:, 0]).mean()
            cells.append(
                f"{peak_signal_to_noise_ratio(signal, other, np.arcsinh(10.0)):.1f} dB, "
                f"{structural_similarity(signal, other, np.arcsinh(10.0)):.3f}, {metres:.2f} m"
            )
        rows.append(tuple(cells))
        shown[t] = (*tiles, *heights)
    return rows, shown


@dataclass(frozen=True, eq=False)
class Library:
    """Labelled spectra to compare with: standardised (n, G), level, contrast and label."""

    standard: np.ndarray
    level: np.ndarray
    contrast: np.ndarray
    label: np.ndarray

    @staticmethod
    def of(spectra: np.ndarray, label: np.ndarray, sampling: Resampling) -> Library:
        """From (n, B) reflectance."""
        level, contrast = level_and_contrast(spectra, sampling)
        return Library(standardise(spectra, sampling), level, contrast, label)

    def halves(self) -> tuple[Library, Library]:
        """Every other spectrum, so that one half can be compared with the other."""
        fields = [self.standard, self.level, self.contrast, self.label]
        return Library(*(f[::2] for f in fields)), Library(*(f[1::2] for f in fields))

    def in_reflectance(self, standard: np.ndarray, sampling: Resampling) -> np.ndarray:
        """Standardised spectra with level and contrast of their nearest ones in the library."""
        own = np.square(self.standard).sum(axis=1)
        nearest = np.argmin(own - 2.0 * standard @ self.standard.T, axis=1)
        found = reflectance(standard, self.level[nearest], self.contrast[nearest], sampling)
        return found[:, sampling.covered > 0]


def simulated(rng: np.random.Generator, count: int, sampling: Resampling) -> np.ndarray:
    """Standardised spectra (count, G) of the simulator that the branch was trained on."""
    spectra = random_spectra(rng, count, WAVELENGTHS_NM)
    return standardise(spectra.astype(np.float32), sampling)


def materials(rng: np.random.Generator, sampling: Resampling) -> Library:
    """400 spectra of each simulated material but the one that can be anything."""
    named = [material for name, material in MATERIALS.items() if name != "anything"]
    drawn = np.concatenate([material(rng, 400, WAVELENGTHS_NM) for material in named])
    return Library.of(drawn.astype(np.float32), np.repeat(np.arange(len(named)), 400), sampling)


def scene_library(seed: int, sampling: Resampling) -> Library:
    """The labelled pixels of the simulated scene."""
    scene = simulated_scene(seed)
    label = scene.label.reshape(-1)
    spectra = scene.modalities["hsi"].values.reshape(BANDS, -1).T
    order = np.random.default_rng(seed).permutation(np.flatnonzero(label))
    return Library.of(np.ascontiguousarray(spectra[order]), label[order], sampling)


def within(standard: np.ndarray, library: Library, sampling: Resampling) -> str:
    """Share of spectra within the nearest class's spread, and their median angle to its mean."""
    real = library.in_reflectance(library.standard, sampling)  # each is its own nearest
    found = library.in_reflectance(standard, sampling)
    angle, nearest = nearest_mean(found, class_means(real, library.label))
    inside = angle <= within_class_spread(real, library.label)[nearest]
    return f"{100 * inside.mean():.0f} % ({np.degrees(np.median(angle)):.1f}°)"


def generation(sampling: Resampling, *, samples: int, seed: int) -> tuple[Rows, np.ndarray]:
    """The rows of generated spectra, beside fresh real ones and noise; and their reflectance."""
    rng = np.random.default_rng([seed, 1])
    drawn = generated_spectra(
        load_prior("hsi"),
        samples,
        sampling,
        steps=DDIM_GENERATION,
        generator=torch.Generator().manual_seed(seed),
    )
    real, fresh = simulated(rng, samples, sampling), simulated(rng, samples, sampling)
    noise = rng.normal(size=real.shape).astype(np.float32) * sampling.covered
    basis = dct_basis(real.shape[1])
    of_materials, held_materials = materials(rng, sampling).halves()
    of_scene, held_scene = scene_library(seed, sampling).halves()
    rows: Rows = [
        (
            name,
            f"{frechet_distance(real @ basis.T, found @ basis.T):.3f}",
            within(found, of_materials, sampling),
            within(found, of_scene, sampling),
        )
        for name, found in (("generated", drawn), ("fresh draws of the simulator", fresh))
    ]
    held = (
        within(held_materials.standard, of_materials, sampling),
        within(held_scene.standard[: 4 * samples], of_scene, sampling),
    )
    rows.append(("spectra of the column's own library", "–", *held))
    rows.append(
        (
            "noise",
            f"{frechet_distance(real @ basis.T, noise @ basis.T):.3f}",
            within(noise, of_materials, sampling),
            within(noise, of_scene, sampling),
        )
    )
    return rows, of_scene.in_reflectance(drawn, sampling)


def height_features(tiles: np.ndarray) -> np.ndarray:
    """(n, 2, 8, 8) to (n, 32): the 4×4 lowest DCT-II coefficients of both signal channels."""
    spectrum = dctn(lidar_signal(tiles), axes=(2, 3), norm="ortho")
    return np.asarray(spectrum[:, :, :4, :4].reshape(len(tiles), -1))


def height_generation(samples: int, seed: int) -> tuple[Rows, np.ndarray]:
    """The rows of generated LiDAR tiles, beside fresh simulated ones; and the tiles."""
    rng = np.random.default_rng([seed, 2])
    drawn = generated_heights(
        load_prior("lidar"),
        samples,
        SIDE,
        steps=DDIM_GENERATION,
        generator=torch.Generator().manual_seed(seed + 1),
    )
    real, fresh = (random_height_tiles(rng, samples, SIDE) for _ in range(2))
    reference = height_features(real)
    rows: Rows = []
    for name, found in (("generated", drawn), ("fresh draws of the simulator", fresh)):
        quantiles = HEIGHT_UNIT_M * np.quantile(found[:, 0], (0.05, 0.5, 0.95))
        distance = frechet_distance(reference, height_features(found))
        heights = " / ".join(f"{q:.1f}" for q in quantiles)
        rows.append((name, f"{distance:.2f}", f"{heights} m"))
    return rows, drawn


def table(heading: tuple[str, ...], rows: Rows) -> str:
    """A Markdown table."""
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def whole_labels(label: np.ndarray) -> np.ndarray:
    """Labels (n, h, w) whose unlabelled pixels take the most frequent one of their tile."""
    full = label.astype(np.int64)
    for tile in full:
        tile[tile == 0] = np.argmax(np.bincount(tile[tile > 0], minlength=1))
    return full


def picture(out: Path, columns: list[tuple[str, np.ndarray, np.ndarray]], at: np.ndarray) -> None:
    """Tiles side by side: name, reflectance (n, G, 8, 8) and LiDAR (n, 2, 8, 8) of a column."""
    stages = [
        Stage(name, spectra[:SHOWN], HEIGHT_UNIT_M * heights[:SHOWN, 0])
        for name, spectra, heights in columns
    ]
    write_tile_pictures(out / "tiles.png", stages, at, title="Branches on 8×8 tiles")


def main() -> None:
    """Parse the command line, print the tables, write the picture and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for quality.json and tiles.png")
    parser.add_argument("--tiles", type=int, default=32)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--conditional", type=Path, help="a branch of make_conditional.py")
    arguments = parser.parse_args()
    seed: int = arguments.seed
    hsi, lidar, label = scene_tiles(seed, arguments.tiles)
    sampling = resampling(BANDS, tuple(WAVELENGTHS_NM))
    seen = sampling.covered > 0
    tables: list[tuple[tuple[str, ...], Rows]] = []
    rows, shown = reconstruction(hsi, lidar, sampling, seed)
    tables.append((("PSNR, SSIM, angle or mean error", "noised", "reconstructed"), rows))
    rows, drawn = generation(sampling, samples=arguments.samples, seed=seed)
    heading = ("spectra", "Fréchet", "within a material's spread", "within a scene class's spread")
    tables.append((heading, rows))
    rows, heights = height_generation(arguments.samples, seed)
    tables.append((("LiDAR tiles", "Fréchet", "heights at 5 / 50 / 95 %"), rows))
    real, noised, found, low_noised, low_found = shown[150]
    generated = spectra_as_tiles(drawn[: SHOWN * SIDE * SIDE], SHOWN)
    columns = [
        ("real (simulated scene)", real, lidar),
        ("noised, t = 150 of 500", noised, low_noised),
        ("reconstructed", found, low_found),
        ("generated", generated, heights),
    ]
    report: dict[str, Any] = {"seed": seed}
    if arguments.conditional is not None:
        prior, parts = load_conditional(arguments.conditional, seed)
        figures = measured(prior, parts, each=EACH, seed=seed)
        tables.append(as_rows(figures, parts.classes))
        report["conditional"] = as_json(figures, parts.classes, prior)
        asked = tiles_by_label(prior, parts, whole_labels(label[:SHOWN]), seed)
        spectra = scene_library(seed, sampling).in_reflectance(asked, sampling)
        blank = np.full_like(lidar[:SHOWN], np.nan)  # the branch draws no heights
        columns.append(("by the real tile's classes", spectra_as_tiles(spectra, SHOWN), blank))
    print("\n\n".join(table(*each) for each in tables))
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        report["tables"] = [[dict(zip(h, row, strict=True)) for row in r] for h, r in tables]
        text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
        (arguments.out / "quality.json").write_text(text + "\n", encoding="utf-8")
        picture(arguments.out, columns, GRID_NM[: seen.size][seen])


if __name__ == "__main__":
    main()
