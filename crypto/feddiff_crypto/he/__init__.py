"""Masked ring vectors inside CKKS: the sum is hidden from the coordinator too."""
