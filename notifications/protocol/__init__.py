"""The wire protocol: frames, codecs, codes and the server's side of the conversation.

Nothing here does I/O, reads a clock or waits: bytes and the time come in, actions go out.
docs/protocol.md is the contract; tests/vectors holds it as data that other languages run too.
"""
