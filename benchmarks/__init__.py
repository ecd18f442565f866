"""The time partywall takes, as ratios to the same queries and writes by hand."""
