"""The example of `docs/adding-an-extension.md` works as it stands there."""

import re
from pathlib import Path
from typing import Any

from extensions.protocol import Extension

from .fakes import FakeHost, text

DOC = Path(__file__).parents[2] / "docs" / "adding-an-extension.md"


def test_the_example_runs() -> None:
    code = re.search(r"```python\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL)
    assert code is not None
    module: dict[str, Any] = {"__package__": "extensions", "__name__": "extensions.contact_sheet"}
    exec(code[1], module)
    extension = module["EXTENSION"]
    assert isinstance(extension, Extension)
    drawn = FakeHost().run(extension, text(), 32, 3)
    assert [image.size for image in drawn.images] == [(64, 64), (96, 64), (128, 64)]
    assert len(drawn.infotexts) == 3
