"""What a run leaves for those who check it: the log's leaves, checkpoints, rosters and vectors."""
