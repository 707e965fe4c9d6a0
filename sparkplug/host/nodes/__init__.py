"""One edge node: its session, aliases, seq, and what waits for a missing message or a birth."""
