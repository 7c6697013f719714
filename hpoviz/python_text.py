"""Python expressions over several lines, where they are too long for one."""

from __future__ import annotations

import itertools
import re

__all__ = ["wrapped"]

WIDTH = 120  # letters of a line
TEXT_OR_MARK = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[()\[\]{},]""")
CLOSING = {"(": ")", "[": "]", "{": "}"}


def wrapped(code: str, indent: int, width: int = WIDTH) -> str:
    """Return an expression as it stands, or with an item a line where it does not fit; its meaning is the same.

    Parameters
    ----------
    code : str
        One line: a call, a list or a dictionary, with or without something before it. Others stay as they are.
    indent : int
        Spaces before it; the following lines have them, the first has not.
    width : int
        Letters of a line, with the comma that may follow.

    Examples
    --------
    >>> print(wrapped("layers.Dense(64, name='a, (b)')", 4, width=24))
    layers.Dense(
            64,
            name='a, (b)',
        )
    """
    if indent + len(code) < width:
        return code
    depth, cuts, ends = 0, [], 0
    for mark in TEXT_OR_MARK.finditer(code):
        if mark[0] in CLOSING:
            depth += 1
            cuts += [mark.start()] if depth == 1 else []
        elif mark[0] == "," and depth == 1:
            cuts.append(mark.start())
        elif mark[0] in CLOSING.values():
            depth -= 1
            cuts += [mark.start()] if depth == 0 else []
            ends += depth == 0
    if ends != 1 or cuts[-1] != len(code) - 1:  # it is more than one pair of brackets with something before it
        return code
    items = [code[start + 1 : end].strip() for start, end in itertools.pairwise(cuts)]
    if code[0] == "(" and len(items) == 1:  # a comma would make a tuple of it
        return code
    inner = "".join(f"{' ' * (indent + 4)}{wrapped(item, indent + 4, width)},\n" for item in items if item)
    return f"{code[: cuts[0] + 1]}\n{inner}{' ' * indent}{code[-1]}"
