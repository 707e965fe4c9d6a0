"""Fuzzing: inputs nobody thought of, against properties that always hold.

`make fuzz` runs every target for a minute, the test suite for some seconds. A target is a
function of bytes that raises where a property does not hold; an input that made one raise,
or ended the process, is kept under corpus/ and replayed by the test suite from then on.
"""
