"""Pipelines: values against closed forms, and a toy checkpoint in place of a model."""
