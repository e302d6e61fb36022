"""The decision core: pure and synchronous. No await, clock, random number, logger or I/O."""
