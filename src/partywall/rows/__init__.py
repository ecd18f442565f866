"""The row wall: the database enforces it again, whatever the SQL."""
