"""The pages that describe the API: they need no other host."""

import re

import pytest

from ..wire import Wire


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_pages_load_nothing_from_elsewhere(wire: Wire, page: str) -> None:
    text = wire.client.get(page).text
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert links
    assert not re.search(r"https?://", text)
    for link in links:
        asset = wire.client.get(link)
        assert (asset.status_code, len(asset.content) > 1000) == (200, True)


def test_only_known_assets_are_served(wire: Wire) -> None:
    for name in ("LICENSE", "..%2fcore.py", "x.js"):
        assert wire.client.get(f"/docs/{name}").json() == {"detail": "Not Found"}
