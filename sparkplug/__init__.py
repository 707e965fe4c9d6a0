"""Sparkplug B without I/O: topics, payload columns, births, aliases, seq, STATE, edge node."""
