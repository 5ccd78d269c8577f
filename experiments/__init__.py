"""Programs for training runs: thin, absl flags, one per job."""
