"""The log: append by group commit, read by position."""
