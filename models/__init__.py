"""Files become modules on a device: catalog, hashes, loading, swapping. Knows no prompts."""
