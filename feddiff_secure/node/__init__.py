"""An owner's node: its settings, its policy, the review of a plan, its startup kit."""
