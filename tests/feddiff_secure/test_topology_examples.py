"""In split the ground is described once; each owner's part must be what it would compute itself."""

from __future__ import annotations

import numpy as np

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.partition import parse_partition
from feddiff_secure.data.scene import Dataset
from feddiff_secure.federation.dealing import deal
from feddiff_secure.federation.examples import describe, labelled_examples, part_of
from feddiff_secure.federation.progress import Silent
from feddiff_secure.model.psi import FeatureMap
from tests.support.topologies import tiny_scene


def test_an_owners_part_of_the_described_ground_is_its_own_description() -> None:
    """On a raster whose edges leave smaller tiles, so that there are several blocks."""
    tiles = cut_tiles(Dataset(scenes=(tiny_scene(side=24),)), 5)
    features = FeatureMap.public(tiles.layout, tile=5, learned=False)
    ground = describe(features, tiles, Silent())
    owners = deal(tiles, parse_partition("iid"), RunConfig(topology="split", owners=4))
    hsi = features.widths["hsi"]
    for name, part in owners.items():
        taken = labelled_examples(features, part_of(ground, part))
        alone = labelled_examples(features, describe(features, part, Silent()))
        assert np.array_equal(taken.features, alone.features), name
        assert np.array_equal(taken.labels, alone.labels), name
        held = slice(0, hsi) if part.layout.names == ("hsi",) else slice(hsi, None)
        assert np.abs(alone.features[:, held]).max() > 0
        other = slice(hsi, None) if held.start == 0 else slice(0, hsi)
        assert not alone.features[:, other].any()
