"""What to do about failures: how long to wait before the next try. Pure functions."""
