"""What a run shows: accuracy and land-cover maps."""
