"""Generates src/mlx_worker/gen from proto/, or with --check says whether it is up to date.

Only the contracts that the worker serves are generated.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

WORKER_ROOT = Path(__file__).resolve().parents[1]
PROTO_ROOT = WORKER_ROOT.parent / "proto"
TARGET = WORKER_ROOT / "src" / "mlx_worker" / "gen"
SOURCES = [
    "mlx_serving/v1/generation.proto",
    "mlx_serving/v1/worker.proto",
    "mlx_serving/v1/membership.proto",
]
# protoc imports from the root of the proto tree; the generated code lives inside the package.
ABSOLUTE_IMPORT = re.compile(r"^(from|import) mlx_serving\b", re.MULTILINE)


def generate(target: Path) -> None:
    """Writes the modules and their stubs into `target`. Raises CalledProcessError when protoc fails."""
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTO_ROOT}", *outputs, *SOURCES]
    plugins = str(Path(sys.executable).parent)
    environment = {"PATH": f"{plugins}:/usr/bin:/bin"}
    subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
    for path in target.rglob("*.py*"):
        if path.name.startswith("generation_pb2_grpc"):
            path.unlink()  # The file declares no service.
        else:
            path.write_text(ABSOLUTE_IMPORT.sub(r"\1 mlx_worker.gen.mlx_serving", path.read_text()))
    for folder in (target, target / "mlx_serving", target / "mlx_serving" / "v1"):
        (folder / "__init__.py").write_text("")


def contents(root: Path) -> dict[str, str]:
    """Relative path to text of every generated file under `root`."""
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*.py*"))
        if "__pycache__" not in path.parts
    }


def main() -> int:
    """Returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        fresh_root = Path(folder)
        generate(fresh_root)
        fresh = contents(fresh_root)
    if "--check" in sys.argv[1:]:
        same = fresh == contents(TARGET)
        if not same:
            print("src/mlx_worker/gen is out of date: run python tools/generate_proto.py", file=sys.stderr)
        return 0 if same else 1
    for name, text in fresh.items():
        path = TARGET / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"wrote {len(fresh)} files to {TARGET.relative_to(WORKER_ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
