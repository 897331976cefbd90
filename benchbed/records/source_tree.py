"""benchbed's own checkout: its commit, and what was in it at another one."""

import os
import subprocess
from pathlib import Path

import benchbed

GIT_REDIRECTIONS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
)
"""Variables, set inside git hooks, that would send `git -C` to another repository."""

SOURCE_TREE = Path(benchbed.__file__).resolve().parents[1]


def commit_and_dirty(source_tree: Path) -> tuple[str | None, bool | None]:
    """Commit of the tree that holds benchbed, and whether tracked or new code differs from it.

    (None, None) when that tree is not a git checkout that tracks benchbed, so that a wheel
    installed somewhere inside another project's repository is never given that one's commit.
    """
    tracked = _git(source_tree, "ls-files", "--error-unmatch", "benchbed/__init__.py")
    commit = _git(source_tree, "rev-parse", "HEAD")
    if tracked is None or commit is None:
        return None, None
    changes = _git(source_tree, "status", "--porcelain", "--", "benchbed", "tasks", "backbones")
    return commit, None if changes is None else bool(changes)


def has_commit(source_tree: Path, commit: str) -> bool:
    """Whether the checkout that holds benchbed has a commit in its history."""
    return _git(source_tree, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def file_at(source_tree: Path, commit: str, path: str) -> str | None:
    """Text of a file of the checkout as it was at a commit; None where it is not to be had.

    Args:
        source_tree: the checkout.
        commit: 40 hex digits.
        path: from the checkout's root.
    """
    if len(commit) != 40 or set(commit) - set("0123456789abcdef"):
        # what is no hash could be an option
        return None
    return _git(source_tree, "show", f"{commit}:{path}")


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {k: v for k, v in os.environ.items() if k not in GIT_REDIRECTIONS}
    try:
        done = subprocess.run(
            # without optional locks, as several runs may ask at once
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
