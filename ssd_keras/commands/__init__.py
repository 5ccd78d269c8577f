"""The programs of the command `ssd-keras`: flags in, one call of the library, a printed answer."""
