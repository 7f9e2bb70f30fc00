"""Stand-ins: a BLIP of true layout with random weights, and an onnxruntime without a runtime.

What the small BLIP writes is nonsense; it shows that a caption is the model's own, not that it is a
good one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (
    *("a", "picture", "of", "dog", "cat", "red", "blue", "sky", "tree", "##s", "##ing", "##ly"),
    *("run", "sit", "on", "the", "and", "with", "house", ",", ".", "!", "'", "two"),
)
VOCABULARY = (*SPECIALS, *WORDS, "[DEC]", "[ENC]")
SIDE = 32


def config(**text: Any) -> BlipConfig:
    """BLIP in a few thousand numbers."""
    return BlipConfig(
        text_config={
            "vocab_size": len(VOCABULARY),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "bos_token_id": VOCABULARY.index("[DEC]"),
            "eos_token_id": 2,
            "pad_token_id": 0,
            "sep_token_id": 3,
            **text,
        },
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": SIDE,
            "patch_size": 8,
            # the default is so small that every picture would look the same
            "initializer_range": 0.5,
        },
    )


def blip(folder: Path) -> Any:
    """A small BLIP, saved into `folder` as transformers saves it with its tokenizer."""
    torch.manual_seed(3)
    model: Any = BlipForConditionalGeneration(config(initializer_range=0.5))
    model.eval()
    model.save_pretrained(folder)
    (folder / "words.txt").write_text("\n".join(VOCABULARY), "utf-8")
    tokenizer(folder / "words.txt").save_pretrained(folder)
    (folder / "words.txt").unlink()
    return model


def tokenizer(words: Path) -> Any:
    """transformers' own tokenizer over a file of word pieces, one a line."""
    vocabulary = {word: number for number, word in enumerate(words.read_text("utf-8").split("\n"))}
    return BertTokenizer(
        vocab=vocabulary, additional_special_tokens=["[DEC]", "[ENC]"], do_lower_case=True
    )


def picture(seed: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """Coloured noise."""
    width, height = size
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(levels)


#: the least that is an ONNX file to look at: a version, a graph, and who made it
SOUND, BROKEN = b"\x08\x09\x3a\x00\x12\x02it", b"\x08\x09\x3a\x00\x12\x06broken"


class Fault(Exception):
    """What the stand-in's compiled part raises."""


@dataclass
class FakeRuntime:
    """The parts of onnxruntime that are used, with `scores` in place of a network.

    The file `BROKEN` cannot be read.
    """

    scores: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    shape: Sequence[int | str | None] = ("batch", SIDE, SIDE, 3)
    inputs: int = 1
    opened: list[str] = field(default_factory=list)
    given: list[NDArray[np.float32]] = field(default_factory=list)
    providers: Sequence[str] = ("CPUExecutionProvider",)
    #: how many threads were asked for; None: sessions cannot share them
    threads: list[int] | None = field(default_factory=list)

    def module(self) -> ModuleType:
        """It as what `import onnxruntime` gives."""
        module: Any = ModuleType("onnxruntime")
        state = SimpleNamespace(Fault=Fault, number=1)
        module.capi = SimpleNamespace(onnxruntime_pybind11_state=state)
        module.SessionOptions = SimpleNamespace
        module.InferenceSession = self._open
        module.get_available_providers = lambda: list(self.providers)
        if self.threads is not None:
            module.set_global_thread_pool_sizes = self._set_threads
        made: ModuleType = module
        return made

    def _open(self, path: str, *, sess_options: Any, providers: Sequence[str]) -> "FakeRuntime":
        assert list(providers) == ["CPUExecutionProvider"]
        if Path(path).read_bytes() == BROKEN:
            raise Fault("INVALID_PROTOBUF")
        self.opened.append(path)
        return self

    def _set_threads(self, within: int, between: int) -> None:
        assert between == 1
        if self.threads:
            raise Fault("Global thread pools have already been created, cannot replace them")
        assert self.threads is not None
        self.threads.append(within)

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=f"in{n}", shape=list(self.shape)) for n in range(self.inputs)]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="out", shape=["batch", 3])]

    def run(
        self, output_names: Sequence[str], input_feed: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        assert list(output_names) == ["out"]
        values = input_feed["in0"]
        self.given.append(values)
        return [self.scores(values)]


TAGS_CSV = """tag_id,name,category,count
9999999,general,9,1
470575,1girl,0,4225150
212816,long_hair_(bangs),0,3
13197,solo,0,2
43,hatsune_miku_(vocaloid),4,1
"""


def tagger_files(folder: Path, *, tags: str = TAGS_CSV, name: str = "selected_tags.csv") -> None:
    """The files of a tagger whose network is `FakeRuntime`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(SOUND)
    (folder / name).write_text(tags, "utf-8")


def rewrite(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; a dot leads into a section."""
    content = json.loads(path.read_text("utf-8"))
    for key, value in changes.items():
        section, _, inner = key.partition("__")
        if inner:
            content[section][inner] = value
        else:
            content[section] = value
    path.write_text(json.dumps(content), "utf-8")
