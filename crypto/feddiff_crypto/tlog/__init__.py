"""Append-only logs that owners witness: Merkle trees, checkpoints, cosignatures, offline proofs."""
