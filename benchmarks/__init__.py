"""The time partywall takes, as ratios to the same queries filtered by hand."""
