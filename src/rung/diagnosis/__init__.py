"""What is wrong with a model and its data, how that shows, and what to do about it."""

from rung.diagnosis.finding import Finding, Remedy, worst_first

__all__ = ["Finding", "Remedy", "worst_first"]
