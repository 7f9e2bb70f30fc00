"""The server of stable-diffusion-drawbridge-api as its users start it, but for its redis: a dict.

Run by the venv that `test_drawbridge.py` makes, with $CONF_PATH its settings:
`python drawbridge_server.py --port PORT`.
"""

import importlib
from typing import Any


class Shelf(dict[str, bytes]):
    """As much of a redis client as it uses; kept in this process."""

    def __init__(self, **_address: Any) -> None:
        super().__init__()

    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def exists(self, key: str) -> bool:
        return key in self

    def pipeline(self) -> "Shelf":
        return self

    def execute(self) -> None:
        """Nothing is left to do: what it was told, it did."""


def serve() -> None:
    """Serve until killed, on the port of the command line."""
    redis: Any = importlib.import_module("redis")
    redis.Redis = Shelf
    bridge = importlib.import_module("DrawBridgeAPI.api_server")
    importlib.import_module("uvicorn").run(bridge.app, host="127.0.0.1", port=bridge.port)


if __name__ == "__main__":
    serve()
