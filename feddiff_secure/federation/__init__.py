"""One federated run: the plan, the owners, the coordinator, the rounds."""
