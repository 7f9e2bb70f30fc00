"""Models as they are opened and run: of every shape that rembg knows, and of none."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extensions.rembg.models import CLOTHES, CUSTOM, KNOWN, Model
from extensions.rembg.net import BrokenModel, Net
from models.errors import CorruptCheckpoint
from models.onnx import session_options
from models.sessions import SessionCache
from tests.extensions.rembg.standins import BLUE, RED, clothes, disc, inside, network, save


def opened(model: Any, path: Path, base: str = CUSTOM) -> Net:
    save(model, path)
    return Net(Model(name=path.stem, base=base, path=path), session_options("cpu"))


@pytest.mark.parametrize("base", [name for name in KNOWN if name != CLOTHES])
def test_every_model_finds_the_disc(base: str, tmp_path: Path) -> None:
    """Each by its own class of rembg; birefnet's last layer is left to rembg's own code."""
    model = network(side="side", logits=base.startswith("birefnet"))
    size = (320, 320) if base.startswith(("u2net", "silueta")) else (1024, 1024)
    masks = opened(model, tmp_path / "model.onnx", base).masks(disc(size))
    assert [mask.mode for mask in masks] == ["L"]
    np.testing.assert_array_equal(np.asarray(masks[0]), np.where(inside(size), 255, 0))


@pytest.mark.parametrize("side", [320, 512, 1024])
def test_a_file_of_another_name_runs_in_the_size_that_it_has(side: int, tmp_path: Path) -> None:
    size = (side, side)
    (mask,) = opened(network(side=side), tmp_path / "own.onnx").masks(disc(size))
    np.testing.assert_array_equal(np.asarray(mask), np.where(inside(size), 255, 0))


def test_a_known_model_exported_in_another_size_runs_in_that(tmp_path: Path) -> None:
    net = opened(network(side=96), tmp_path / "birefnet-general-lite.onnx", "birefnet-general-lite")
    (mask,) = net.masks(disc((96, 96)))
    assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_own_files_are_normalised_as_the_family_of_their_size(tmp_path: Path) -> None:
    """A ramp of red tells by its mask's values which mean and deviation came before."""
    for side, mean in ((320, 0.485), (512, 0.5)):
        ramp = np.zeros((side, side, 3), np.uint8)
        ramp[..., 0] = np.linspace(0, 255, side).round()
        # a sigmoid as steep as this is a step from 0 to 1 at the mean
        net = opened(network(side=side, weights=((4000.0, 0, 0),)), tmp_path / f"{side}.onnx")
        (mask,) = net.masks(Image.fromarray(ramp))
        first = int(np.argmax(np.asarray(mask)[0] > 127))
        assert ramp[0, first - 1, 0] / 255 <= mean <= ramp[0, first, 0] / 255


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 50), (50, 1), (2, 3), (333, 77), (640, 480), (4000, 3)]
)
def test_a_mask_has_the_size_of_its_picture(size: tuple[int, int], tmp_path: Path) -> None:
    (mask,) = opened(network(), tmp_path / "u2net.onnx", "u2net").masks(disc(size))
    assert (mask.size, mask.mode) == (size, "L")


def test_the_mask_of_a_scaled_picture_follows_it(tmp_path: Path) -> None:
    size = (500, 300)
    (mask,) = opened(network(), tmp_path / "u2net.onnx", "u2net").masks(disc(size))
    wrong = (np.asarray(mask) > 127) != inside(size)
    assert wrong.mean() < 0.004


def test_clothes_are_three_masks(tmp_path: Path) -> None:
    net = opened(clothes(), tmp_path / f"{CLOTHES}.onnx", CLOTHES)
    picture = np.zeros((768, 768, 3), np.uint8)
    for row, colour in enumerate((RED, (0, 255, 0), BLUE)):
        picture[200 * row : 200 * row + 200, :384] = colour
    masks = net.masks(Image.fromarray(picture))
    assert len(masks) == 3
    for row, mask in enumerate(masks):
        wanted = np.zeros((768, 768), np.uint8)
        wanted[200 * row : 200 * row + 200, :384] = 255
        np.testing.assert_array_equal(np.asarray(mask), wanted)


@pytest.mark.parametrize(
    ("base", "bias", "level"),
    [
        ("u2net", 9.0, 255),
        ("u2net", -9.0, 0),
        (CUSTOM, 9.0, 255),
        ("birefnet-general", 0.4, 255),
        ("birefnet-general", -0.4, 0),
    ],
)
def test_a_mask_without_a_difference_is_all_or_nothing(
    base: str, bias: float, level: int, tmp_path: Path
) -> None:
    logits = base.startswith("birefnet")
    flat = network(side="side", weights=((0.0, 0.0, 0.0),), bias=bias, logits=logits)
    (mask,) = opened(flat, tmp_path / "flat.onnx", base).masks(disc((60, 40)))
    assert mask.size == (60, 40)
    assert mask.getextrema() == (level, level)


def test_very_sure_logits_are_no_mistake(tmp_path: Path) -> None:
    sure = network(side=64, weights=((9000.0, 0.0, -9000.0),), logits=True)
    (mask,) = opened(sure, tmp_path / "birefnet-dis.onnx", "birefnet-dis").masks(disc((64, 64)))
    np.testing.assert_array_equal(np.asarray(mask), np.where(inside((64, 64)), 255, 0))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((1, 3, 320), r"\[1, 3, height, width\] is allowed"),
        ((1, 1, 320, 320), r"takes tensor\(float\) \[1, 1, 320, 320\]; \[1, 3, height, width\]"),
        ((2, 3, 320, 320), r"takes tensor\(float\) \[2, 3, 320, 320\]; \[1, 3, height, width\]"),
        ((1, 3, 100_000, 320), "sides of 1 to 4096 are allowed"),
    ],
)
def test_a_model_of_another_input_is_refused(
    inputs: Sequence[int], said: str, tmp_path: Path
) -> None:
    channels = inputs[1] if len(inputs) == 4 else 3
    model = network(inputs=inputs, weights=((1.0,) * channels,))
    if len(inputs) != 4:
        model = network(inputs=inputs)
        model.graph.node[0].op_type = "Identity"
        del model.graph.node[0].input[1:]
        del model.graph.initializer[:]
    with pytest.raises(BrokenModel, match=f"^own.onnx: .*{said}"):
        opened(model, tmp_path / "own.onnx")


def test_a_model_of_two_inputs_is_refused(tmp_path: Path) -> None:
    model = network()
    model.graph.input.append(model.graph.input[0])
    model.graph.input[1].name = "points"
    with pytest.raises(BrokenModel, match=r"takes input.1, points; one picture is allowed"):
        opened(model, tmp_path / "sam.onnx")


def test_half_precision_at_the_door_is_refused(tmp_path: Path) -> None:
    model = network()
    model.graph.input[0].type.tensor_type.elem_type = 10
    for made in model.graph.initializer:
        values = np.frombuffer(made.raw_data, np.float32).astype(np.float16)
        made.data_type, made.raw_data = 10, values.tobytes()
    for slot in model.graph.output:
        slot.type.tensor_type.elem_type = 10
    with pytest.raises(BrokenModel, match=r"takes tensor\(float16\) .*; tensor\(float\)"):
        opened(model, tmp_path / "half.onnx")


def _identity(model: Any, op: str, **attributes: Any) -> Any:
    """The model whose first output goes through `op`."""
    onnx: Any = pytest.importorskip("onnx")
    first = model.graph.output[0].name
    node = next(each for each in model.graph.node if each.output[0] == first)
    node.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node(op, ["before"], [first], **attributes))
    return model


@pytest.mark.parametrize(
    ("op", "attributes", "said"),
    [
        ("Flatten", {}, r"gives \[1, 102400\]; \[1, 1, height, width\] is allowed"),
        ("GlobalMaxPool", {}, r"gives \[1, 1, 1, 1\]; \[1, 1, height, width\] is allowed"),
        ("Sqrt", {}, "gives what is not a number"),
        ("Transpose", {"perm": (2, 0, 1, 3)}, r"gives \[320, 1, 1, 320\]"),
    ],
)
def test_what_is_no_mask_is_refused(
    op: str, attributes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    net = opened(_identity(network(logits=True), op, **attributes), tmp_path / "u2net.onnx")
    with pytest.raises(BrokenModel, match=f"^u2net.onnx: {said}"):
        net.masks(disc())


def test_clothes_want_four_classes(tmp_path: Path) -> None:
    net = opened(network(side=768), tmp_path / f"{CLOTHES}.onnx", CLOTHES)
    with pytest.raises(BrokenModel, match=r"gives \[1, 1, 768, 768\]; \[1, 4, height, width\]"):
        net.masks(disc())


def test_what_onnxruntime_cannot_run_is_told_as_the_file(tmp_path: Path) -> None:
    """A size left open, and a layer that takes but one."""
    onnx: Any = pytest.importorskip("onnx")
    model = network(side="side")
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.ones((1, 1, 7, 7), np.float32), "seven")
    )
    _identity(model, "Add").graph.node[-1].input.append("seven")
    net = opened(model, tmp_path / "odd.onnx")
    for _ in range(2):
        with pytest.raises(BrokenModel, match=r"^odd.onnx: onnxruntime cannot run it"):
            net.masks(disc((40, 40)))


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_damaged_file_is_refused_and_leaves_the_kept_models(cut: int, tmp_path: Path) -> None:
    good = save(network(), tmp_path / "u2net.onnx")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(good.read_bytes()[:cut])
    cache, options = SessionCache(2**30), session_options("cpu")

    def get(path: Path) -> Net:
        model = Model(name=path.stem, base="u2net", path=path)
        return cache.get(path, (path,), lambda: Net(model, options))

    net, held = get(good), cache.held
    for _ in range(2):
        with pytest.raises((BrokenModel, CorruptCheckpoint), match=r"bad.onnx"):
            get(bad)
    assert get(good) is net
    assert cache.held == held
    bad.write_bytes(good.read_bytes())
    assert get(bad).masks(disc())[0].getextrema() == (0, 255)


def test_weights_outside_of_the_file_are_refused(tmp_path: Path) -> None:
    model = network()
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = 1
    for key, value in (("location", "../../../etc/passwd"), ("offset", "0"), ("length", "12")):
        weights.external_data.add(key=key, value=value)
    with pytest.raises(BrokenModel, match=r"^u2net.onnx: onnxruntime cannot read it"):
        opened(model, tmp_path / "u2net.onnx", "u2net")


def test_any_number_of_threads_share_one_net_and_run_it_one_at_a_time(tmp_path: Path) -> None:
    path = save(network(), tmp_path / "u2net.onnx")
    cache, openings = SessionCache(2**30), []
    running, most = 0, 0
    lock = threading.Lock()

    def open_net() -> Net:
        openings.append(threading.get_ident())
        net = Net(Model(name="u2net", base="u2net", path=path), session_options("cpu"))
        checked = net._session.inner_session
        real = checked._session.run

        def run(*args: Any) -> Any:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            try:
                return real(*args)
            finally:
                with lock:
                    running -= 1

        checked._session = _Counting(checked._session, run)
        return net

    sizes = [(320, 320), (100, 200), (64, 64)]

    def work(number: int) -> bool:
        size = sizes[number % len(sizes)]
        (mask,) = cache.get("u2net", (path,), open_net).masks(disc(size))
        wrong = (np.asarray(mask) > 127) != inside(size)
        return mask.size == size and bool(wrong.mean() < 0.01)

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(work, range(50)))
    assert len(openings) == 1
    assert most == 1


class _Counting:
    """A session whose `run` is another."""

    def __init__(self, session: Any, run: Callable[..., Any]) -> None:
        self._session, self.run = session, run

    def get_inputs(self) -> Any:
        return self._session.get_inputs()


def test_no_model_is_ever_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where rembg looks itself, nor from afar."""
    pooch: Any = pytest.importorskip("pooch")
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("fetched"))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "home"))
    for base in (*KNOWN, CUSTOM):
        path = tmp_path / "weights" / f"{base}.onnx"
        model = clothes() if base == CLOTHES else network(side=32)
        assert opened(model, path, base).masks(disc((8, 8)))
    assert not (tmp_path / "home").exists()
