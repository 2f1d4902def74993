"""The choice of a BLAS, and the second start that puts it in place."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlx_worker import blas

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="macOS has Accelerate")


class Started:
    """Stands in for execve."""

    def __init__(self) -> None:
        self.environment: dict[str, str] | None = None

    def __call__(self, path: str, arguments: list[str], environment: dict[str, str]) -> None:
        assert path == arguments[0] == sys.executable
        self.environment = environment


@linux_only
def test_the_process_starts_again_with_an_openblas(tmp_path):
    started = Started()
    environment = {"MLX_SERVING_CACHE_DIR": str(tmp_path), "LD_PRELOAD": "/lib/other.so"}
    assert blas.ensure_blas(environment, started) is None
    library, rest = started.environment["LD_PRELOAD"].split(":")
    assert "openblas" in library
    assert rest == "/lib/other.so"
    assert int(started.environment["OPENBLAS_NUM_THREADS"]) >= 1


@linux_only
@pytest.mark.parametrize("preload", ["/a/libopenblas.so.0", "/x.so:/b/libblas.so", "/x.so /c/libmyblas.so"])
def test_a_blas_that_is_preloaded_is_left_alone(preload):
    started = Started()
    assert blas.ensure_blas({"LD_PRELOAD": preload}, started) is None
    assert started.environment is None


@linux_only
def test_off_warns_and_does_not_start_again():
    started = Started()
    assert "slow" in blas.ensure_blas({"MLX_SERVING_BLAS": "off"}, started)
    assert started.environment is None


@linux_only
def test_without_any_openblas_there_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setattr(blas, "find_system_openblas", lambda: None)
    monkeypatch.setattr(blas, "packaged_openblas", lambda cache: None)
    started = Started()
    assert "no OpenBLAS found" in blas.ensure_blas({"HOME": str(tmp_path)}, started)
    assert started.environment is None


@linux_only
def test_a_cache_that_cannot_be_written_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setattr(blas, "find_system_openblas", lambda: None)
    (tmp_path / "file").write_text("")
    started = Started()
    environment = {"MLX_SERVING_CACHE_DIR": str(tmp_path / "file")}
    assert "no OpenBLAS could be prepared" in blas.ensure_blas(environment, started)
    assert started.environment is None


def test_a_system_openblas_is_found_where_distributions_put_it(tmp_path):
    assert blas.find_system_openblas(tmp_path) is None
    for place in ("usr/lib64/libopenblas.so.0", "usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0"):
        library = tmp_path / place
        library.parent.mkdir(parents=True)
        library.write_bytes(b"")
        assert blas.find_system_openblas(tmp_path) == library


@linux_only
def test_the_packaged_library_has_the_standard_names_and_is_made_once(tmp_path):
    library = blas.packaged_openblas(tmp_path)
    made_at = library.stat().st_mtime_ns
    assert blas.packaged_openblas(tmp_path) == library
    assert library.stat().st_mtime_ns == made_at
    assert [path.name for path in tmp_path.iterdir()] == [library.name]
    script = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).cblas_sgemm"
    subprocess.run([sys.executable, "-c", script, str(library)], check=True)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"MLX_SERVING_CACHE_DIR": "/c"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/mlx-serving"),
        ({"HOME": "/h"}, "/h/.cache/mlx-serving"),
    ],
)
def test_the_cache_directory_follows_the_environment(environment, place):
    assert str(blas.cache_directory(environment)) == place


def test_the_number_of_threads_may_be_set():
    environment = blas.preload_environment({"OPENBLAS_NUM_THREADS": "7"}, blas.Path("/l.so"))
    assert environment == {"OPENBLAS_NUM_THREADS": "7", "LD_PRELOAD": "/l.so"}
