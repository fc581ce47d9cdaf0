"""Differential privacy for federated tiles: units, noise, accounting, statement."""
