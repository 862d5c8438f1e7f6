"""CONTRIBUTING.md says what is so."""

import importlib
import re

from tests.house.sources import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
QUOTED = re.findall(r"`([^`\n]+)`", TEXT)


def test_every_path_it_names_exists() -> None:
    paths = [word for quoted in QUOTED for word in quoted.split() if re.fullmatch(r"(?:connectors|pipelines|tests)/[\w./-]+", word)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_name_of_ours_it_quotes_exists() -> None:
    missing = []
    dotted = [quoted for quoted in QUOTED if re.fullmatch(r"(?:connectors|pipelines)(?:\.\w+)+", quoted)]
    for name in dotted:
        module, _, attribute = name.rpartition(".")
        try:
            found = hasattr(importlib.import_module(module), attribute) or importlib.import_module(name) is not None
        except ImportError:
            found = False
        if not found:
            missing.append(name)
    assert dotted
    assert missing == []


def test_every_make_target_it_names_exists() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", TEXT))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named - targets == set()


def test_the_folders_it_explains_are_the_folders_of_tests() -> None:
    (explained,) = re.findall(r"The folders: (.+?)\n\n", TEXT, re.DOTALL)
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("*.py"))} - {"__pycache__"}
    assert folders - set(re.findall(r"`(\w+)`", explained)) == set()
