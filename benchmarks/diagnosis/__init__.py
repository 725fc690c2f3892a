"""Does the diagnosis name the fault that was planted, and only that one? ``python -m benchmarks.diagnosis --help``."""
