"""Diffusion branches, their frozen features, and the public feature map ψ."""
