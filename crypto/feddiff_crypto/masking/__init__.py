"""One round of secure aggregation with masks: a state machine for owner and coordinator."""
