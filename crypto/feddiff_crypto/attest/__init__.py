"""Signed statements about files: DSSE envelopes around in-toto Statements."""
