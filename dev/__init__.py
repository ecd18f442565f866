"""What tests, demo and benchmarks share: a real PostgreSQL server."""
