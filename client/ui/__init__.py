"""A page on loopback to look at one file's scores: drop an image or a video, see what the served model says."""

from client.ui.serving import serve_ui

__all__ = ["serve_ui"]
