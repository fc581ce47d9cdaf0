"""What happens to values before features are learnt on, and the refusal of what would void ε."""

from __future__ import annotations

from collections.abc import Sequence

from feddiff_privacy.provenance import (
    ProvenanceError,
    Public,
    Step,
    parse_provenance,
    require_provenance,
)
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.errors import UsageError
from feddiff_secure.model.frozen_network import FrozenNetwork


def preprocessing(layout: SensorLayout, networks: Sequence[FrozenNetwork]) -> list[Step]:
    """Every step between a file and the features, with its provenance.

    Scaling is by constants alone (`data/scaling.py`: a factor that the file states as a sensor
    constant, or a fixed map); a file cannot ask for its own minimum or mean.
    """
    scalings = [
        Step(f"scaling of {entry.name}", Public(f"constants of the sensor ({entry.scaling})"))
        for entry in layout.modalities
    ]
    frozen = [Step(network.name, parse_provenance(network.provenance)) for network in networks]
    return [*scalings, *frozen]


def check_preprocessing(
    config: RunConfig, layout: SensorLayout, networks: Sequence[FrozenNetwork]
) -> None:
    """Refuse, in the private profile, what would void the guarantee of everything after it.

    Raises:
        UsageError: a step without provenance, or one whose releases this run does not account for.
    """
    if config.profile != "private":
        return
    try:
        spent = require_provenance(preprocessing(layout, networks))
    except ProvenanceError as error:
        raise UsageError(
            str(error), "use a prior of public, simulated or private provenance"
        ) from error
    if spent:
        raise UsageError(
            f"the prior spent {len(spent)} private releases, which this run does not compose into "
            "its budget",
            "use a prior of public or simulated provenance",
        )
