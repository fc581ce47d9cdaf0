"""Attacks on a recorded run: a rerun with canaries, and membership inference by shadow runs."""
