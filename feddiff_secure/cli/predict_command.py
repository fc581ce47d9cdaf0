"""`feddiff-secure predict`: a map of new data from a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feddiff_secure.cli.console import StageProgress, print_json


def predict(
    run: Annotated[Path, typer.Argument(help="Run directory, or its model.safetensors.")],
    data: Annotated[Path, typer.Option(help="HDF5 or MAT file of the same sensors.")],
    out: Annotated[Path, typer.Option(help="Map to write, new: .png, .tif (with CRS) or .h5.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Predict the land cover of new data.

    Example:

      feddiff-secure predict runs/first --data scene.h5 --out map.png
    """
    from feddiff_secure.report.prediction import predict_file  # noqa: PLC0415  # loads torch

    with StageProgress(quiet=quiet) as progress:
        summary = predict_file(run, data, out, progress)
    if as_json:
        print_json(summary)
        return
    for name, share in summary["areas"].items():
        typer.echo(f"  {share:7.1%}  {name}")
    if summary["accuracy"] is not None:
        typer.echo(f"OA {summary['accuracy']['oa']:.3f} on the labelled pixels of {data}")
    typer.echo(str(out))
