"""The load generator: subscribers and publishers that cost so little that the server shows."""
