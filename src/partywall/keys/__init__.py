"""The key wall: keys that cannot point across tenants, derived from ordinary models."""
