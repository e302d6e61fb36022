"""The live page of the collector: what it counts, keeps, computes and serves."""
