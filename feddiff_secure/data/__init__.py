"""Scenes, pixel tables, tiles, splits and partitions, and the simulated scene."""
