from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_cleanup.model.globs import CHECKPOINTS, Globs, files_and_directories

PATTERNS = ("*.ckpt", "*.p?", "x*", "*[ab]", "*", "*.tar.gz", "[!a]*", "**", "a.b")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("last.ckpt", True),
        ("model.safetensors", True),
        (".pt", True),
        ("model.PT", False),
        ("pt", False),
        ("model.pt.json", False),
        ("checkpoint", False),
    ],
)
def test_checkpoints_are_told_by_their_ending(name: str, *, is_one: bool) -> None:
    """The usual patterns, case and all."""
    files, _ = files_and_directories(CHECKPOINTS)

    assert files(name) is is_one


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("checkpoints", True),
        ("checkpoint-100", True),
        ("checkpoint", True),
        ("x-checkpoint", False),
    ],
)
def test_directories_are_those_with_a_slash(name: str, *, is_one: bool) -> None:
    """A pattern that ends in a slash is one of directories."""
    _, directories = files_and_directories(CHECKPOINTS)

    assert directories(name) is is_one


@given(
    patterns=st.lists(st.sampled_from(PATTERNS), max_size=4),
    name=st.text(st.characters(exclude_categories=[], exclude_characters="/"), max_size=8)
    | st.sampled_from(["a.b", "x.pt", "a.tar.gz", "b", "a\n.ckpt", ""]),
)
def test_any_name_is_told_as_the_shell_does(patterns: list[str], name: str) -> None:
    """The quick way for endings says the same as the long one."""
    expected = any(fnmatchcase(name, pattern) for pattern in patterns)

    assert Globs(tuple(patterns))(name) is expected


def test_globs_are_values() -> None:
    """Two of the same patterns are equal."""
    assert Globs(("*.pt", "x?")) == Globs(("*.pt", "x?"))
    assert Globs(("*.pt",)) != Globs(("*.ckpt",))
