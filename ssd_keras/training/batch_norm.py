"""Moved to `ssd_keras.batch_norm`; the name stays for scripts that have it."""

from ssd_keras.batch_norm import BatchStatistics as BatchStatistics
