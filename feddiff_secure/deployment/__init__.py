"""A run whose owners are processes of their own: what runs at each, and who starts it."""
