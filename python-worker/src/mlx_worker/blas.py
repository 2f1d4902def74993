"""Puts an optimised BLAS under MLX's CPU build on Linux.

The Linux wheel of MLX carries the reference BLAS, which is about 27 times slower. The dynamic linker only
takes another one from LD_PRELOAD at the start of a process, so the process starts itself once more.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

SYSTEM_PATTERNS = (
    "usr/lib/*/openblas-pthread/libopenblas.so.0",
    "usr/lib/*/libopenblas.so.0",
    "usr/lib64/libopenblas.so.0",
    "usr/lib/libopenblas.so.0",
    "usr/local/lib/libopenblas.so.0",
)
SCIPY_SYMBOL = re.compile(rb"(?<=\0)scipy_(\w+)(?=\0)")


def ensure_blas(
    environment: Mapping[str, str] = os.environ,
    execute: Callable[[str, list[str], dict[str, str]], object] = os.execve,
) -> str | None:
    """Starts this process again with an OpenBLAS in LD_PRELOAD, unless one is there already.

    Must run before mlx is imported. Never fails: returns None when nothing is to be said (not Linux, or a
    BLAS is preloaded), else a warning that the worker will be slow, and why.
    """
    if sys.platform != "linux" or is_preloaded(environment):
        return None
    if environment.get("MLX_SERVING_BLAS", "auto") == "off":
        return "MLX_SERVING_BLAS=off: inference runs on the slow reference BLAS"
    try:
        library = find_system_openblas() or packaged_openblas(cache_directory(environment))
    except (OSError, subprocess.SubprocessError) as error:
        return f"no OpenBLAS could be prepared, inference will be slow: {error}"
    if library is None:
        return (
            "no OpenBLAS found, inference will be slow: install libopenblas, or scipy-openblas32 and patchelf"
        )
    execute(sys.executable, [sys.executable, *sys.orig_argv[1:]], preload_environment(environment, library))
    return None


def is_preloaded(environment: Mapping[str, str]) -> bool:
    """Whether LD_PRELOAD names a BLAS."""
    names = re.split(r"[ :]", environment.get("LD_PRELOAD", ""))
    return any("blas" in Path(name).name for name in names)


def preload_environment(environment: Mapping[str, str], library: Path) -> dict[str, str]:
    """The environment of the second start. Threads: half the cores, at least one, unless already set."""
    preload = ":".join(filter(None, [str(library), environment.get("LD_PRELOAD", "")]))
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    return {"OPENBLAS_NUM_THREADS": threads, **environment, "LD_PRELOAD": preload}


def find_system_openblas(root: Path = Path("/")) -> Path | None:
    """The distribution's OpenBLAS, from the places where distributions put it."""
    for pattern in SYSTEM_PATTERNS:
        for path in sorted(root.glob(pattern)):
            return path
    return None


def cache_directory(environment: Mapping[str, str]) -> Path:
    """MLX_SERVING_CACHE_DIR, else `mlx-serving` in the user's cache directory."""
    if explicit := environment.get("MLX_SERVING_CACHE_DIR"):
        return Path(explicit)
    base = (
        environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", tempfile.gettempdir())) / ".cache"
    )
    return Path(base) / "mlx-serving"


def packaged_openblas(cache: Path) -> Path | None:
    """The OpenBLAS of scipy-openblas32 under the standard symbol names, made once per build of it.

    Returns None when the package or patchelf is missing.
    Raises OSError or SubprocessError when the copy fails.
    """
    spec = importlib.util.find_spec("scipy_openblas32")
    beside_python = Path(sys.executable).parent / "patchelf"
    patchelf = str(beside_python) if beside_python.exists() else shutil.which("patchelf")
    if spec is None or spec.origin is None or patchelf is None:
        return None
    source = Path(spec.origin).parent / "lib" / "libscipy_openblas.so"
    if not source.exists():
        return None
    content = source.read_bytes()
    target = cache / f"libopenblas-{hashlib.sha256(content).hexdigest()[:16]}.so"
    if not target.exists():
        strip_scipy_prefix(content, target, patchelf)
    return target


def strip_scipy_prefix(content: bytes, target: Path, patchelf: str) -> None:
    """Writes the library with `scipy_` taken off every symbol; other processes see it whole or not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        library, names = Path(folder) / "library.so", Path(folder) / "names"
        library.write_bytes(content)
        found = sorted(set(SCIPY_SYMBOL.findall(content)))
        names.write_text("".join(f"scipy_{name.decode()} {name.decode()}\n" for name in found))
        command = [patchelf, "--rename-dynamic-symbols", str(names), str(library)]
        subprocess.run(command, check=True, capture_output=True)
        library.chmod(0o755)
        library.replace(target)
