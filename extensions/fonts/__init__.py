"""Roboto Regular, cut down to Latin, Greek, Cyrillic and signs; licence beside it."""
