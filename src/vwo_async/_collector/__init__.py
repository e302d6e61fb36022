"""The parts of the collector."""
