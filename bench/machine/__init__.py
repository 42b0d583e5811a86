"""The machine under the benchmark: its cores, its limits, what a process tree costs it."""
