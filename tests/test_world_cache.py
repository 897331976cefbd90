import shutil
from pathlib import Path

import pytest

from benchbed import world_cache
from benchbed.data import world


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The folders that would be drawn, without drawing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    roots = []
    monkeypatch.setattr(world_cache, "ensure_world", lambda root, version: roots.append(root))
    return roots


def test_the_world_lives_in_the_users_cache(drawn, tmp_path):
    root = world_cache.cached_world(1)
    assert drawn == [root]
    assert root.parent == tmp_path / "cache" / "benchbed"


def test_pictures_of_changed_drawing_code_are_never_taken_for_the_worlds(
    drawn, monkeypatch, tmp_path
):
    before = world_cache.cached_world(1)
    copy = tmp_path / "world"
    shutil.copytree(Path(world.__file__).parent, copy)
    monkeypatch.setattr(world, "__file__", str(copy / "__init__.py"))
    assert world_cache.cached_world(1) == before
    (copy / "textures.py").write_text("# another hand\n")
    assert world_cache.cached_world(1) != before
