"""Prompt text to weighted token chunks, without tensors."""
