"""The report as a page: one HTML file without scripts, which opens from disk."""

from qdq.report.page import html_page

__all__ = ["html_page"]
