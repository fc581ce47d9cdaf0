"""How messages travel: one seam, `exchange`, that every transport implements."""
