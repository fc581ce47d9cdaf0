"""Checks of a finished run from its files alone: no torch, no network, no data, no keys."""
