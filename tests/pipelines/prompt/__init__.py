"""Prompt text to weighted token chunks."""
