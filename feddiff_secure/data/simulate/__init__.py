"""Simulated spectra, heights and scenes: public by construction, deterministic by seed."""
