"""The parts of the test doubles."""
