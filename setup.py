"""Installs phasen_sb."""

import os
import platform
import re
import sys
import sysconfig
import zlib
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # called directly, by a setuptools that makes no wheels
    bdist_wheel = object

KERNELS = Path("phasen_sb/native")
SOURCES = sorted([*KERNELS.glob("*.cpp"), *KERNELS.glob("*.hpp")])
# One library for each instruction set, chosen when they are loaded.
X86 = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mavx512bf16",
        "-mamx-tile",
        "-mamx-bf16",
    ],
}
# Of another machine, where a wheel is compiled for that.
MACHINE = os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine())
INSTRUCTIONS = {
    "x86_64": X86,
    "amd64": X86,
    "aarch64": {"neon": []},
    "arm64": {"neon": []},
}.get(MACHINE.lower().rpartition("-")[2], {})
# PESQ is C code that PyPI has no wheels of. Enhancing does without it.
SCORES = [] if os.environ.get("PHASEN_WITHOUT_PESQ") else ["pesq"]
# The YAMLs and the recipes live at the top level, where people look for them,
# and are installed inside the package, where they can be found.
PACKAGE_DIR = {
    "phasen_sb.hparams": "hparams",
    "phasen_sb.recipes": "recipes",
    "phasen_sb.recipes.corpora": "recipes/corpora",
}
PACKAGES = [*find_packages(include=["phasen_sb", "phasen_sb.*"]), *PACKAGE_DIR]
if "editable_wheel" in sys.argv:
    # So that it is a plain path, which type checkers and editors see, too: the
    # three are found in the checkout (phasen_sb/utils/moved_modules.py).
    PACKAGES = PACKAGES[: -len(PACKAGE_DIR)]
    PACKAGE_DIR = {"": "."}


class BuildLibraries(build_ext):
    """Names libraries alike for all versions of Python: they call none."""

    def get_ext_filename(self, fullname):
        path = super().get_ext_filename(fullname)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        return path.removesuffix(suffix) + Path(suffix).suffix


class BuildWheel(bdist_wheel):
    """Makes one wheel a platform, for all versions of Python."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    name="phasen_sb",
    version=re.search(
        'VERSION = "(.*)"', Path("phasen_sb/utils/version.py").read_text()
    )[1],
    description="PHASEN speech enhancement as SpeechBrain modules",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The phasen_sb authors",
    license="Apache-2.0",
    python_requires=">=3.10",
    package_dir=PACKAGE_DIR,
    packages=PACKAGES,
    package_data={
        "phasen_sb.hparams": ["*.yaml", "*/*.yaml"],
        "phasen_sb.recipes.corpora": ["sources.yaml"],
        "phasen_sb.data": ["sample/*", "sample/*/*"],
        "phasen_sb.export": ["web/*"],
        "phasen_sb.leaderboard": ["*.csv", "templates/*"],
        "phasen_sb.runs": ["templates/*"],
        "phasen_sb": ["py.typed"],
        "phasen_sb.models": ["default/*", "live/*"],
    },
    cmdclass={"build_ext": BuildLibraries, "bdist_wheel": BuildWheel},
    ext_modules=[
        Extension(
            f"phasen_sb.native._kernels_{name}",
            [str(KERNELS / "kernels.cpp")],
            depends=[str(path) for path in SOURCES],
            # Kernels of other sources than those beside them are not used.
            define_macros=[
                (
                    "PHASEN_SOURCES",
                    str(zlib.crc32(b"".join(p.read_bytes() for p in SOURCES))),
                )
            ],
            extra_compile_args=[
                "-std=c++17",
                "-O3",
                "-g0",
                "-ffp-contract=fast",  # multiply and add at once
                "-pthread",
                "-Wno-psabi",
                "-Wno-uninitialized",
                "-Wno-maybe-uninitialized",
                "-Wno-unknown-pragmas",  # of another compiler
                *flags,
            ],
            extra_link_args=["-pthread"],
            # Without a compiler, PyTorch computes the same.
            optional=True,
        )
        for name, flags in INSTRUCTIONS.items()
    ],
    install_requires=[
        "torch>=2.11,<2.13",
        # 2.11.1 cannot be imported with torch 2.11 and 2.12.
        "torchaudio==2.11.0",
        "speechbrain>=1.1,<1.2",
        "hyperpyyaml>=1.2.3",
        *SCORES,
        "pystoi",
        "soundfile",
        "mutagen",
        "numpy",
        "scipy>=1.15",
        "soxr",
        "matplotlib",
        "jinja2",
        "pillow",
        "markupsafe",
        "ruamel.yaml>=0.18,<0.19",  # HyperPyYAML fails with 0.19
        "pyyaml",
        "tabulate",
        "tqdm",
        "joblib",
        "huggingface_hub>=0.20",
    ],
    extras_require={
        "pesq": ["pesq"],  # where it was left out, see above
        "dev": [
            "pytest",
            "ruff==0.17.*",
            "mypy",
            "selenium",
            "tensorboard",
            "onnx",
            "onnxruntime",
            "import-linter==2.*",
            "webdataset",
            "av>=17.1",
            "sounddevice",
        ],
        "docs": [
            "mkdocs==1.*",
            "mkdocs-material==9.*",
            "mkdocstrings[python]==1.*",
            "ruff==0.17.*",  # formats signatures
        ],
        "onnx": ["onnx", "onnxruntime"],
        "demo": ["gradio"],
        "live": ["sounddevice"],  # with PortAudio, but for Linux
        "media": ["av>=17.1"],  # with FFmpeg in its wheels
        "tensorboard": ["tensorboard"],
        # speechmos declares none of what it imports.
        "dnsmos": ["speechmos", "onnxruntime", "librosa", "requests"],
        "distillmos": ["distillmos"],  # with its weights
        "asr": ["pocketsphinx"],  # with its English model
        "scale": ["webdataset>=1", "ray[client]", "pyarrow"],
    },
    entry_points={"console_scripts": ["phasen=phasen_sb.cli:main"]},
)
