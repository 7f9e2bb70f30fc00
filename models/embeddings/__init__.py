"""Textual inversions: files whose vectors stand in a prompt for the word that names them."""
