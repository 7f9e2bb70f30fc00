"""Faces in pictures: where they are, whose they are, and making them good."""
