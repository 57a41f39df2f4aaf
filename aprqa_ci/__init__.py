"""Certify language models, with proof."""

__version__ = "0.1.0"
