"""The row wall on SQLite, which has none of its own: views, triggers and an authorizer on each connection."""
