"""Benchmarks: real servers, ours beside the plain Channels and DRF way, ratios in one run."""
