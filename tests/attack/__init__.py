"""Hostile traffic beside an honest fleet: what it costs, and whom."""
