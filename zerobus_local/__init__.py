"""A Zerobus-compatible server for laptops and tests: gRPC, OAuth, Delta tables on disk."""
