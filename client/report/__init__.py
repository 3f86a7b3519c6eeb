"""The page to look at: a result file as one HTML file that loads nothing from elsewhere."""

from client.report.writing import write_report

__all__ = ["write_report"]
