"""One self-contained HTML page that shows what a run did. ``build_report`` makes it."""

from rung.report.builder import build_report

__all__ = ["build_report"]
