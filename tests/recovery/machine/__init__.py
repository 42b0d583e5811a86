"""The parts of the recovery machine: a world without chance, a model of the log, a client."""
