"""Metrics that are not one row: UDT instances, their members, and files that come in parts."""
