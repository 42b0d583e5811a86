"""Reads behind the doors: keyword-only, a bounded number of queries each, no rules."""
