"""Topics and patterns: what they look like, which match, who listens, where they are stored.

Pure functions and one index; section 1 of docs/protocol.md is the specification, and
tests/vectors/topics.json is what every client is held to.
"""
