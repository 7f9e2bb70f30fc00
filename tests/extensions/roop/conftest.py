"""These tests are of the extra `face`, which may not be installed."""

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("insightface")
