"""What the code costs, against the targets of the design and against peers where installed."""
