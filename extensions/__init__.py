"""Things hooked on: what an extension is, and the extensions that ship with the server."""
