"""Recovery: how far somebody has come in the log, and how replayed and live become one stream.

Pure: no Django, no I/O, no clock. The server, the Python client and (through the vectors in
tests/vectors) the browser's client follow the same rules.
"""
