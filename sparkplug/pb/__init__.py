"""Modules generated from proto/; see `make proto`."""
