"""The servers under test and what they stand on: processes, databases, workers of the load."""
