"""Freeze the embedded text data set: paragraphs of the docstrings of five libraries, to be told apart by library.

Run once; its result is committed, so that the data do not change with installed versions::

    python tests/freeze_docstrings.py

Prose paragraphs of 12 to 80 words are read from the libraries' source files without importing them. Names of the
libraries and everything that looks like code are taken out, duplicates are dropped, and the test set is made of whole
modules, so that no two samples of one module fall on both sides.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from hpoviz.data.text import words

LIBRARIES = {
    "keras": "keras",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
}
TARGET = Path(__file__).parents[1] / "hpoviz" / "data" / "docstrings.json.gz"
PER_CLASS = 1500
TEST_SHARE = 5  # one module in five
NAMES = re.compile(
    r"\b(keras|tensorflow|matplotlib|pyplot|numpy|pandas|sklearn|scikit-learn|scikit|np|pd|plt|tf|mpl)\b\.?", re.I
)
MARKUP = re.compile(r":\w+:|[`*_~|]+|<[^>]*>|\[\d+\]_?")
CODE = re.compile(r">>>|\.\. |::|=|http|\bdef\b|\bimport\b|[{}\\@#]")


def docstrings(package: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, docstring) of every public function, class and module of a package, tests left out."""
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package).as_posix()
        if "test" in module or "externals" in module or "vendor" in module:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
                yield module, text


def paragraphs(text: str) -> Iterator[str]:
    """Yield the prose paragraphs of a docstring as lines of plain words."""
    for block in re.split(r"\n\s*\n", text):
        if CODE.search(block) or re.search(r"^\s*[-=]{3,}", block, re.MULTILINE):
            continue
        text = " ".join(NAMES.sub(" ", MARKUP.sub("", block)).split())
        spelled = words(text)
        if 12 <= len(spelled) <= 80 and sum(word.isalpha() for word in spelled) >= 0.8 * len(spelled):
            yield text


def collect() -> list[dict[str, str]]:
    """Return the samples: text, label, source; no text twice, not even under two labels."""
    seen: set[str] = set()
    samples = []
    for label, package in sorted(LIBRARIES.items()):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        found = []
        for module, text in docstrings(Path(spec.origin).parent):
            for paragraph in paragraphs(text):
                key = " ".join(words(paragraph))
                if key not in seen:
                    seen.add(key)
                    found.append({"text": paragraph, "label": label, "source": f"{package}/{module}"})
        found.sort(key=lambda sample: hashlib.sha256(sample["text"].encode()).hexdigest())
        samples += found[:PER_CLASS]
        print(f"{label}: {len(found)} paragraphs, {len(found[:PER_CLASS])} kept")
    return samples


def in_test(source: str) -> bool:
    """Choose whole modules for the test set by the hash of their name."""
    return int(hashlib.sha256(source.encode()).hexdigest(), 16) % TEST_SHARE == 0


def main() -> None:
    """Write the data set."""
    samples = sorted(collect(), key=lambda sample: hashlib.sha256(sample["text"].encode()).hexdigest())
    for sample in samples:
        sample["part"] = "test" if in_test(sample["source"]) else "train"
    record = {"versions": {name: version(name) for name in LIBRARIES}, "samples": samples}
    content = json.dumps(record, ensure_ascii=False, indent=0).encode()
    TARGET.write_bytes(gzip.compress(content, mtime=0))
    test = sum(sample["part"] == "test" for sample in samples)
    print(
        f"{len(samples) - test} training and {test} test samples, {TARGET.stat().st_size / 1024:.0f} KiB: {TARGET.name}"
    )


if __name__ == "__main__":
    main()
