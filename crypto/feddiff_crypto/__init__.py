"""Secure aggregation for vectors of integers: bytes in, bytes out, no network, no disk."""
