"""The REST door: section 7 of docs/protocol.md. It translates and makes one call each."""
