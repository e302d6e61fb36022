"""Delivery: what waits for VWO's servers. Nothing here decides about users."""
