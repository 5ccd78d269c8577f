"""A word for scripts that look for the comparison here."""

raise ImportError("ssd_keras.training.comparison is now called ssd_keras.comparison.")
