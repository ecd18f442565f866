"""For the tests of applications: the twin oracle."""

from partywall.testing.twins import DifferenceError, Outcome, Twins

__all__ = ["DifferenceError", "Outcome", "Twins"]
