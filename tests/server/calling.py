"""An app on a device that does what the test says, called as a client does, on the test's loop."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from pipelines.generate import Generated
from pipelines.plan import Plan
from pipelines.watch import Watch
from server.app import create_app
from server.services import Services
from server.settings import parse

from .fakes import FakeDevice, image

SOON_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Called:
    """A client, the app it calls, and the device behind that."""

    app: FastAPI
    client: httpx.AsyncClient
    device: FakeDevice = field(default_factory=FakeDevice)

    @property
    def services(self) -> Services:
        found: Services = self.app.state.services
        return found

    async def submitted(self, count: int) -> tuple[Plan, Watch]:
        """Wait until the device was given `count` plans; the last one and its watch."""
        async with asyncio.timeout(SOON_S):
            while len(self.device.submitted) < count:
                await asyncio.sleep(0.001)
        plan, watch, _ = self.device.submitted[count - 1]
        return plan, watch

    def finish(self, count: int, error: Exception | None = None) -> None:
        """Have plan `count` (from 1) done, or failed."""
        plan, watch, future = self.device.submitted[count - 1]
        if error is not None:
            future.set_exception(error)
            return
        for index in range(plan.batch_count):
            watch.begin_batch(index)
            for _ in range(plan.passes):
                watch.end_pass()
        future.set_result(Generated(images=[image(i) for i in range(len(plan.prompts))]))

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None) -> Any:
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def calling(folder: Path, *flags: str) -> AsyncIterator[Called]:
    """An app whose device is up at once; its lifespan is not run."""
    app = create_app(parse(["--data-dir", str(folder), *flags]))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        called = Called(app=app, client=client)
        called.services.jobs.ready(called.device)
        yield called


async def post_until(app: FastAPI, path: str, body: Any, gone: asyncio.Event) -> int:
    """Post JSON as a client that hangs up once `gone` is set; the status of the answer."""
    content, read = json.dumps(body).encode(), False
    path, _, query = path.partition("?")
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        nonlocal read
        if not read:
            read = True
            return {"type": "http.request", "body": content, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "headers": [(b"host", b"test"), (b"content-type", b"application/json")],
    }
    await app(scope, receive, send)
    return statuses[0]
