"""Programs for shipping a trained detector: thin, absl flags."""
