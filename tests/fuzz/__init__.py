"""Fuzzing: inputs nobody thought of, against properties that always hold.

`make fuzz` runs every target for a minute; the test suite tries some inputs of each, the same
ones every time. A target is a function of bytes that raises where a property does not hold; an
input that made one raise, or ended the process, is kept under corpus/ and replayed by the test
suite from then on. One target is the suite itself, its generated tests with other cases
(`suite.py`): what is found there is told, to be made a named test by hand.
"""
