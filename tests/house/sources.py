"""The project's own files, as the house tests look at them."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("connectors", "pipelines")
_NOT_OURS = {".git", ".venv", ".crossdock", "__pycache__", "node_modules", "build", "dist", "results"}


def modules(package: str) -> list[Path]:
    """Every Python file of a package, in order."""
    return sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


def module_name(path: Path) -> str:
    """The dotted name a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that belongs to the project: what git tracks or would add, or without git everything but caches."""
    git = shutil.which("git")
    if git is not None and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False
        )
        if listed.returncode == 0:
            return tuple(path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file())
    found = (path for path in ROOT.rglob("*") if path.is_file())
    return tuple(path for path in found if not any(part in _NOT_OURS or part.endswith("_cache") for part in path.relative_to(ROOT).parts))


def text_of(path: Path) -> str:
    """The text of a file, or "" for one that is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
