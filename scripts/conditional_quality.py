"""Does a branch draw the class it is asked for? Tables and pictures for `prior_quality.py`.

A support vector machine learns the scene's classes from the real training tiles and reads spectra
that the branch of `make_conditional.py` draws by label, at several guidance scales. HSI alone
cannot tell all classes apart: some share a material and differ in height only, which bounds the
classifier on real data too. So agreement is also given by material, and the classifier's accuracy
on real tiles held out by region stands beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_conditional import SceneParts, scene_parts
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from feddiff_secure.data.simulate.spectra import CLASS_MATERIALS
from feddiff_secure.model.consistency import ClassConsistency, class_consistency
from feddiff_secure.model.generation import generated_spectra
from feddiff_secure.model.prior import Prior, load_prior

GUIDANCE = (0.0, 1.0, 3.0)
DDIM_STEPS = 50
Rows = list[tuple[str, ...]]
Measured = dict[str, tuple[ClassConsistency, ClassConsistency]]  # by class and by material


def material_of(classes: tuple[str, ...]) -> np.ndarray:
    """(K + 1,) by label: the first label of the same material; 0 for 0."""
    made_of = [CLASS_MATERIALS[name] for name in classes]
    return np.array([0, *(made_of.index(material) + 1 for material in made_of)])


def measured(prior: Prior, parts: SceneParts, *, each: int, seed: int) -> Measured:
    """Agreement on held-out spectra and on `each` generated ones of every class."""
    model = make_pipeline(StandardScaler(), SVC())
    model.fit(parts.training.spectra, parts.training.label)
    material = material_of(parts.classes)
    asked = np.repeat(np.arange(1, len(parts.classes) + 1), each)
    sets = {"real, held out": (parts.held_out.spectra, parts.held_out.label)}
    for guidance in GUIDANCE:
        drawn = generated_spectra(
            prior,
            len(asked),
            parts.sampling,
            steps=DDIM_STEPS,
            generator=torch.Generator().manual_seed(seed),
            label=asked,
            guidance=guidance,
        )
        sets[f"guidance {guidance:g}"] = (drawn, asked)
    return {
        name: (
            class_consistency(model.predict, spectra, label),
            class_consistency(lambda x: material[model.predict(x)], spectra, material[label]),
        )
        for name, (spectra, label) in sets.items()
    }


def as_rows(found: Measured, classes: tuple[str, ...]) -> tuple[tuple[str, ...], Rows]:
    """Heading and rows of a table, in per cent: a row a class, then all of them, then chance."""
    by_class = [of_class for of_class, _ in found.values()]
    by_material = [of_material for _, of_material in found.values()]
    rows: Rows = []
    for label, name in enumerate(classes, start=1):
        shares = [of_class.by_class.get(label) for of_class in by_class]
        rows.append((name, *("–" if s is None else f"{100 * s:.0f}" for s in shares)))
    for name, every in (("all classes", by_class), ("all, by material", by_material)):
        rows.append((name, *(f"{100 * c.overall:.0f}" for c in every)))
        rows.append((f"{name}: by chance", *(f"{100 * c.chance:.0f}" for c in every)))
    return ("% that the classifier agrees with", *found), rows


def as_json(found: Measured, classes: tuple[str, ...], prior: Prior) -> dict[str, Any]:
    """The same as plain numbers, with the branch's digest and provenance."""
    return {
        "branch": prior.digest,
        "provenance": prior.provenance,
        "sets": {
            name: {
                "by_class": {classes[k - 1]: share for k, share in of_class.by_class.items()},
                "overall": of_class.overall,
                "chance": of_class.chance,
                "by_material": of_material.overall,
                "chance_by_material": of_material.chance,
            }
            for name, (of_class, of_material) in found.items()
        },
    }


def tiles_by_label(prior: Prior, parts: SceneParts, label: np.ndarray, seed: int) -> np.ndarray:
    """Standardised spectra (n·h·w, G) drawn pixel by pixel of the labels (n, h, w)."""
    return generated_spectra(
        prior,
        label.size,
        parts.sampling,
        steps=DDIM_STEPS,
        generator=torch.Generator().manual_seed(seed),
        label=label.reshape(-1).astype(np.int64),
    )


def load_conditional(path: Path, seed: int) -> tuple[Prior, SceneParts]:
    """The branch, and the scene it was trained on.

    Raises:
        SystemExit: the branch knows other classes than the scene has.
    """
    prior, parts = load_prior(path), scene_parts(seed)
    if prior.modality != "hsi" or prior.branch.config.classes != len(parts.classes):
        raise SystemExit(f"{path}: not a branch of make_conditional.py for this scene")
    return prior, parts
