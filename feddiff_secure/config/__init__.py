"""The configuration of a run: one typed object, from options or a TOML file."""
