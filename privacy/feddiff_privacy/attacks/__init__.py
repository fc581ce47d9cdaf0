"""What a run leaks in fact: lower bounds on ε from canaries, and membership inference."""
