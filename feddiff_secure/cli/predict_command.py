"""`feddiff-secure predict`: a map of new data from a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feddiff_secure.cli.console import StageProgress, print_json, stderr
from feddiff_secure.cli.output import written
from feddiff_secure.errors import UsageError
from feddiff_secure.transcript.files import check_finished

if TYPE_CHECKING:
    from feddiff_secure.report.fused_file import Together

_SPLIT = "Runs of topology split"


def predict(  # noqa: PLR0917  # one parameter an option, given by name
    run: Annotated[Path, typer.Argument(help="Run directory, or its model.safetensors.")],
    data: Annotated[Path, typer.Option(help="Data of the same sensors; rasters go by windows.")],
    out: Annotated[Path, typer.Option(help="Map to write, new: .png, .tif (with CRS) or .h5.")],
    recipient: Annotated[
        str | None,
        typer.Option(
            help="Who gets the fused class scores: an owner, or a party of its own.",
            rich_help_panel=_SPLIT,
        ),
    ] = None,
    consent: Annotated[
        str | None,
        typer.Option(
            help="Owners, by commas, that let their part go to a recipient which contributes "
            "itself.",
            rich_help_panel=_SPLIT,
        ),
    ] = None,
    lidar_data: Annotated[
        Path | None,
        typer.Option(
            help="File of the LiDAR of the ground in --data. Default: --data holds both.",
            rich_help_panel=_SPLIT,
        ),
    ] = None,
    aggregation: Annotated[
        str | None,
        typer.Option(
            help="How scores are summed: masked or encrypted. Default: masked.",
            rich_help_panel=_SPLIT,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Predict the land cover of new data.

    Examples:

      feddiff-secure predict runs/first --data scene.h5 --out map.png

      feddiff-secure predict runs/first --data scene.toml --out map.tif

      feddiff-secure predict runs/split --data hsi.h5 --lidar-data lidar.h5 --recipient analyst
      --out map.png
    """
    from feddiff_secure.report.prediction import predict_file  # noqa: PLC0415  # loads torch

    check_finished(run)
    together = _together(recipient, consent, lidar_data, aggregation)
    with StageProgress(quiet=quiet) as progress, written(out):
        summary = predict_file(run, data, out, progress, together=together)
    if as_json:
        print_json(summary)
        return
    for name, share in summary["areas"].items():
        typer.echo(f"  {share:7.1%}  {name}")
    if summary["accuracy"] is not None:
        typer.echo(f"OA {summary['accuracy']['oa']:.3f} on the labelled pixels of {data}")
    typer.echo(str(out))
    if "guarantee" in summary:
        stderr.print(f"{summary['guarantee']}: the model is FedDiff as published")
    if "fused" in summary:
        _print_disclosure(summary["fused"])


def _together(
    recipient: str | None, consent: str | None, lidar_data: Path | None, aggregation: str | None
) -> Together | None:
    from feddiff_secure.report.fused_file import Together  # noqa: PLC0415  # loads torch

    if recipient is None:
        if consent is not None or lidar_data is not None or aggregation is not None:
            raise UsageError(
                "consent, lidar-data and aggregation go with --recipient",
                "name who gets the fused class scores, or leave them out",
            )
        return None
    return Together(
        recipient=recipient,
        consents=tuple(consent.split(",")) if consent is not None else (),
        lidar_data=lidar_data,
        aggregation=aggregation or "masked",
    )


def _print_disclosure(fused: dict[str, Any]) -> None:
    stderr.print(
        f"{fused['recipient']} got the fused class scores of {fused['pixels']} pixels, without "
        f"noise: they lie outside epsilon"
    )
    if fused["consents"]:
        stderr.print(
            f"with the consent of {', '.join(fused['consents'])}, whose part {fused['recipient']} "
            "gets by subtracting its own"
        )
    if fused["refused_pixels"]:
        stderr.print(
            f"{fused['refused_pixels']} pixels with a single contributor were left out (0)"
        )
