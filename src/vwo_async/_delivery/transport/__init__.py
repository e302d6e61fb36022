"""The ways over which a request can go to VWO."""
