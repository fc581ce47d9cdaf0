"""A node's settings file as it is first written: every key, with what it means beside it."""

from __future__ import annotations


def settings_text(identity: str, passphrase_file: str | None = None) -> str:
    """Commented TOML of careful settings.

    Args:
        identity: path of the identity file, as the settings file should name it.
        passphrase_file: alike; None where the key is not sealed.
    """
    text = _TEXT.replace("IDENTITY", _escaped(identity))
    if passphrase_file is None:
        return text
    line = f'passphrase_file = "{_escaped(passphrase_file)}"     # mode 0600'
    return text.replace(_UNSEALED, line)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace('"', '\\"')


_UNSEALED = '# passphrase_file = "passphrase"   # mode 0600; only where the key is sealed'


_TEXT = """\
# Settings of one node of feddiff-secure; they stay on this machine. Paths are relative to the file.
version = 1

# What this node holds: an HDF5 or MAT file, and the name of the holding whose budget it draws on.
data = "data.h5"
# lidar_data = "lidar.h5"          # where the LiDAR of the same ground is in a file of its own
holding = "default"

# Folder of the privacy ledger. Back it up; never restore an older copy (docs/ledger.md).
ledger = "ledger"

# Identity key (mode 0600), and the registry that pins everybody's, the coordinator's too.
identity = "IDENTITY"
# passphrase_file = "passphrase"   # mode 0600; only where the key is sealed
registry = "registry.json"
# custodians = "custodians.json"   # accept plans in which one of these decrypts

# Wait for a person before anything is released: feddiff-secure node approve|reject DIGEST
review = true
review_timeout_s = 3600            # then the plan is refused
pending = "pending"

[policy]
largest_epsilon = 8.0              # of one run; inf also lets runs without noise in
lifetime_epsilon = 16.0            # of all runs on the holding together; inf for no limit
largest_delta = 1e-5
smallest_owners = 3
least_colluders = 1                # the noise must hold against so many colluding owners
# most_colluders = 100
# most_dropouts = 100
# most_rounds = 10000
# smallest_tile = 1                # pixels
aggregations = ["masked", "encrypted"]
# noises = ["distributed", "local"]
# mechanisms = ["discrete_gaussian", "skellam"]
# topologies = ["paired", "mixed", "split"]
# key_agreements = ["x25519", "hybrid"]
# units = ["tile", "pixel"]
# allowed_configs = []             # config_digest of configurations; empty for any within bounds
show_bounds = false                # whether a refused job is told these numbers
"""
