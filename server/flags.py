"""Every command-line flag the server understands, as one table (standard library only).

The names are those of the webui, so that an existing command line keeps working. A row with
`used=False` has no meaning here, one with `effective=False` has none yet: both are accepted, and
the start-up log names them.
"""

from dataclasses import dataclass, replace
from enum import Enum


class Kind(Enum):
    """How a flag takes its value."""

    SWITCH = "switch"
    TEXT = "text"
    INTEGER = "integer"
    PATH = "path"
    WORDS = "words"
    PATHS = "paths"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag; `home` is the default of a path as a template over `{data}` and `{models}`.

    Of `Kind.PATHS` it may be several, with a space between.
    """

    name: str
    kind: Kind = Kind.SWITCH
    default: object = None
    home: str = ""
    choices: tuple[str, ...] = ()
    group: str = ""
    used: bool = True
    effective: bool = True
    secret: bool = False
    help: str = ""

    @property
    def dest(self) -> str:
        """Return the name as an attribute, as argparse derives it."""
        return self.name.lstrip("-").replace("-", "_")


SERVER = "Server"
ACCESS = "Who may call"
FOLDERS = "Folders and files"
MODEL = "Checkpoint, precision and memory"
OWN = "Darkroom's own"

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _switch(name: str, group: str, text: str) -> Flag:
    return Flag(name=name, default=False, group=group, help=text)


def _text(name: str, group: str, text: str, *, secret: bool = False) -> Flag:
    return Flag(name=name, kind=Kind.TEXT, group=group, help=text, secret=secret)


def _on_off(name: str, group: str, text: str) -> Flag:
    """One that is on unless it is told off."""
    values = ("on", "off")
    return Flag(name=name, kind=Kind.TEXT, default="on", choices=values, group=group, help=text)


def _integer(name: str, group: str, text: str, default: int | None = None) -> Flag:
    return Flag(name=name, kind=Kind.INTEGER, default=default, group=group, help=text)


def _path(name: str, group: str, text: str, home: str = "", *, secret: bool = False) -> Flag:
    return Flag(name=name, kind=Kind.PATH, home=home, group=group, help=text, secret=secret)


_SERVER = (
    _integer("--port", SERVER, "port to listen on (7860; 7861 with --nowebui)"),
    _switch("--listen", SERVER, "listen on every interface (0.0.0.0), not on this machine alone"),
    _text("--server-name", SERVER, "address to listen on (127.0.0.1)"),
    _switch("--api", SERVER, "serve the API; it always is"),
    _switch("--nowebui", SERVER, "serve the API alone, on port 7861"),
    _text("--subpath", SERVER, "path under which a reverse proxy serves this server"),
    _path("--tls-keyfile", SERVER, "private key for https (PEM)", secret=True),
    _path("--tls-certfile", SERVER, "certificate for https (PEM)"),
    _integer("--timeout-keep-alive", SERVER, "seconds an idle connection stays open (30)", 30),
    Flag(
        name="--loglevel",
        kind=Kind.TEXT,
        choices=LOG_LEVELS,
        group=SERVER,
        help="least severe log line written (INFO)",
    ),
    _switch("--api-log", SERVER, "log one line per API request"),
    _switch("--api-server-stop", SERVER, "serve the routes that stop and restart the server"),
)

_ACCESS = (
    _text("--api-auth", ACCESS, "user:password[,user:password] for HTTP Basic", secret=True),
    _text("--gradio-auth", ACCESS, "more of them; here they guard the API too", secret=True),
    _path(
        "--gradio-auth-path", ACCESS, "file of more of them, a line or a comma each", secret=True
    ),
    _text("--cors-allow-origins", ACCESS, "origins (comma separated) whose pages may call"),
    _text("--cors-allow-origins-regex", ACCESS, "regular expression of such origins"),
    _switch("--freeze-settings", ACCESS, "let no client change a setting"),
    _text("--freeze-settings-in-sections", ACCESS, "sections (comma separated) held so, as sd,vae"),
    _text("--freeze-specific-settings", ACCESS, "settings (comma separated) held so"),
    _switch("--hide-ui-dir-config", ACCESS, "ignore changes of folders and file name patterns"),
)

_FOLDERS = (
    _path("--data-dir", FOLDERS, "folder of everything that is yours (data/ beside launch.sh)"),
    _path("--models-dir", FOLDERS, "folder of the models (models/ in the data folder)"),
    _switch("--no-prompt-history", FOLDERS, "keep no params.txt with the latest infotext"),
    _path("--ckpt-dir", FOLDERS, "one more folder of checkpoints"),
    _path("--vae-dir", FOLDERS, "one more folder of VAEs"),
    _path("--lora-dir", FOLDERS, "folder of LoRAs", "{models}/Lora"),
    _path("--lyco-dir-backcompat", FOLDERS, "one more folder of LoRAs", "{models}/LyCORIS"),
    _path("--embeddings-dir", FOLDERS, "folder of textual inversions", "{data}/embeddings"),
    _path("--esrgan-models-path", FOLDERS, "folder of ESRGAN upscalers", "{models}/ESRGAN"),
    _path(
        "--realesrgan-models-path", FOLDERS, "folder of RealESRGAN upscalers", "{models}/RealESRGAN"
    ),
    _path("--gfpgan-models-path", FOLDERS, "folder of GFPGAN", "{models}/GFPGAN"),
    _path("--codeformer-models-path", FOLDERS, "folder of CodeFormer", "{models}/Codeformer"),
    _path("--bsrgan-models-path", FOLDERS, "folder of BSRGAN upscalers", "{models}/BSRGAN"),
    _path("--dat-models-path", FOLDERS, "folder of DAT upscalers", "{models}/DAT"),
    replace(
        _path("--ldsr-models-path", FOLDERS, "folder of LDSR", "{models}/LDSR"),
        effective=False,
        help="folder of the LDSR upscaler (not in effect: it paints with a diffusion model of its"
        " own, which is not supported)",
    ),
    _path("--scunet-models-path", FOLDERS, "folder of ScuNET upscalers", "{models}/ScuNET"),
    _path("--swinir-models-path", FOLDERS, "folder of SwinIR upscalers", "{models}/SwinIR"),
    _path("--ui-settings-file", FOLDERS, "file of the options", "{data}/config.json"),
    Flag(
        name="--styles-file",
        kind=Kind.PATHS,
        home="{data}/styles.csv {data}/styles_integrated.csv",
        group=FOLDERS,
        help="file of prompt styles, or a pattern; may be given more than once",
    ),
)

_MODEL = (
    _path("--ckpt", MODEL, "checkpoint to start with"),
    _path("--vae-path", MODEL, "VAE to use with every checkpoint"),
    _switch("--no-half", MODEL, "compute in float32"),
    _switch("--no-half-vae", MODEL, "run the VAE in float32"),
    Flag(
        name="--precision",
        kind=Kind.TEXT,
        default="autocast",
        choices=("full", "half", "autocast"),
        group=MODEL,
        help="number format of the computation (autocast)",
    ),
    _switch(
        "--medvram", MODEL, "keep only the part of the model at work on the GPU, the others in RAM"
    ),
    _switch("--medvram-sdxl", MODEL, "the same for SDXL alone"),
    _switch("--lowvram", MODEL, "the same, and the UNet comes block by block: slower"),
    Flag(
        name="--use-cpu",
        kind=Kind.WORDS,
        default=(),
        group=MODEL,
        help="parts to run on the CPU: all, or any of sd, esrgan, swinir, gfpgan, codeformer, ...",
    ),
    _text("--device-id", MODEL, "number of the GPU to use"),
    _switch("--no-hashing", MODEL, "do not compute the sha256 of checkpoints"),
    _switch("--skip-load-model-at-start", MODEL, "load the checkpoint at the first job"),
    _switch("--disable-nan-check", MODEL, "do not fail a picture that came out as not-a-number"),
)

_OWN = (
    _path("--extensions-dir", OWN, "folder of extensions of your own (none)"),
    _text(
        "--extensions",
        OWN,
        "extensions from outside that are loaded, in this order (comma separated): modules of"
        " --extensions-dir, entry points of packages, * for all (all of --extensions-dir)",
    ),
    _switch("--disable-all-extensions", OWN, "have no roop, no rembg and none from outside"),
    _switch("--disable-extra-extensions", OWN, "have no extension from outside"),
    _switch(
        "--no-background-hashing", OWN, "hash a file when it is first loaded, not while idle too"
    ),
    _text("--device", OWN, "device to compute on: auto, cpu, cuda or cuda:N (auto)"),
    _integer(
        "--max-batch",
        OWN,
        "most latents that one forward takes (64); how many of them are worth while is measured",
        64,
    ),
    _on_off(
        "--batching",
        OWN,
        "off: one job after another, so that company never changes a bit of a picture (on)",
    ),
    _on_off(
        "--cuda-graphs",
        OWN,
        "record the UNet's work on an NVIDIA GPU once for each number of rows and size (on)",
    ),
    _switch("--compile", OWN, "compile the UNet's blocks: the first picture takes minutes longer"),
    _integer("--max-queue", OWN, "most jobs that wait; more are refused with 503 (128)", 128),
    _switch("--allow-pickle", OWN, "also load .ckpt files, by restricted unpickling"),
    _switch(
        "--old-sampler-names", OWN, "read plain sampler names as webui 1.4 did: no Karras etc."
    ),
)

_IDLE_SWITCHES = (
    "-f --update-all-extensions --skip-python-version-check --skip-torch-cuda-test"
    " --reinstall-xformers --reinstall-torch --update-check --test-server --log-startup"
    " --skip-prepare-environment --skip-install --dump-sysinfo --do-not-download-clip"
    " --no-progressbar-hiding --allow-code --lowram --always-batch-cond-uncond --unload-gfpgan"
    " --upcast-sampling --share --enable-insecure-extension-access --xformers"
    " --force-enable-xformers --xformers-flash-attention --deepdanbooru --opt-split-attention"
    " --opt-sub-quad-attention --opt-split-attention-invokeai --opt-split-attention-v1"
    " --opt-sdp-attention --opt-sdp-no-mem-attention --disable-opt-split-attention --use-ipex"
    " --disable-model-loading-ram-optimization --show-negative-prompt"
    " --gradio-debug --opt-channelslast --autolaunch --use-textbox-seed"
    " --disable-console-progressbars --enable-console-prompts --disable-safe-unpickle"
    " --ui-debug-mode --administrator --no-gradio-queue --skip-version-check"
    " --no-download-sd-model --add-stop-route --unix-filenames-sanitization"
)
_IDLE_TEXTS = "--gradio-img2img-tool --gradio-inpaint-tool --theme"
_IDLE_INTEGERS = "--sub-quad-kv-chunk-size --sub-quad-chunk-threshold"
_IDLE_PATHS = (
    ("--config", ""),
    ("--gfpgan-dir", ""),
    ("--gfpgan-model", ""),
    ("--clip-models-path", ""),
    ("--textual-inversion-templates-dir", "{data}/textual_inversion_templates"),
    ("--localizations-dir", "{data}/localizations"),
    ("--ui-config-file", "{data}/ui-config.json"),
    ("--hypernetwork-dir", "{models}/hypernetworks"),
)

_IDLE = (
    *(Flag(name=name, default=False, used=False) for name in _IDLE_SWITCHES.split()),
    *(Flag(name=name, kind=Kind.TEXT, used=False) for name in _IDLE_TEXTS.split()),
    Flag(name="--ngrok", kind=Kind.TEXT, used=False, secret=True),
    Flag(name="--ngrok-options", kind=Kind.TEXT, default={}, used=False, secret=True),
    Flag(name="--ngrok-region", kind=Kind.TEXT, default="", used=False),
    *(Flag(name=name, kind=Kind.INTEGER, used=False) for name in _IDLE_INTEGERS.split()),
    *(Flag(name=name, kind=Kind.PATH, home=home, used=False) for name, home in _IDLE_PATHS),
    Flag(name="--gradio-queue", default=True, used=False),
    Flag(name="--disable-tls-verify", used=False),
    Flag(name="--gradio-allowed-path", kind=Kind.PATHS, used=False),
    Flag(name="--max-batch-count", kind=Kind.INTEGER, default=16, used=False),
    Flag(name="--sub-quad-q-chunk-size", kind=Kind.INTEGER, default=1024, used=False),
    Flag(name="--filenames-max-length", kind=Kind.INTEGER, default=128, used=False),
)

_NOT_YET = "--disable-nan-check"
"""Flags whose feature is still to come; help and the start-up log say so."""

_USED = tuple(
    replace(flag, effective=False, help=f"{flag.help} (not in effect yet)")
    if flag.name in _NOT_YET.split()
    else flag
    for flag in (*_SERVER, *_ACCESS, *_FOLDERS, *_MODEL, *_OWN)
)

FLAGS: tuple[Flag, ...] = (*_USED, *_IDLE)
