"""The parts of the benchmark from end to end, `bench/end_to_end.py`: what flows, and who measures.

`messages` makes what the `generator` writes to its socket; `chain` starts all processes, one
of them `serve_zerobus`; `commit_log` and `landed` read what arrived; `measurement` is one run
of a `Case`; `batch_cost` is what one batch costs; `table` is how the documentation shows it.
"""
