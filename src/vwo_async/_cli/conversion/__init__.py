"""Conversions from a file: its rows, their columns, the progress that survives a kill, and the run."""
