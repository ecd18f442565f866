"""For the tests of applications: the twin oracle."""

from partywall.testing.twins import Difference, Outcome, Twins

__all__ = ["Difference", "Outcome", "Twins"]
