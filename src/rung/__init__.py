"""rung: the most accurate CNN that this computer can train in the time you have."""

__version__ = "0.1.0"
