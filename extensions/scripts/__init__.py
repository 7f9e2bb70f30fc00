"""The selectable scripts of a stock webui, one module each."""
