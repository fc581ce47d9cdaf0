"""Grids of runs: privacy against utility, measured, kept, summed up and compared."""
