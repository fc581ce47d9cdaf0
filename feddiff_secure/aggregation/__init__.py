"""From clipped gradients to a noised integer sum and back: the mechanism each round applies."""
