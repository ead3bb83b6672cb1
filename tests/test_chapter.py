"""Chapters are found by their files and know their addresses."""

import subprocess
import sys
from pathlib import Path

import pytest

import hopmix
from hopmix.chapter import anchor, chapters, modules_named, package_of, page_of, stem


def test_chapters_are_the_packages_that_name_their_own_page(house):
    house.chapter("burrow/rabbit")
    house.chapter("burrow/mole_rat")
    house.chapter("nest/owl")
    shared = house.sources / "nest" / "twigs"
    shared.mkdir()
    (shared / "__init__.py").write_text('"""Twigs for all nests (page: book/nest/owl.md)."""\n')
    (house.sources / "nest" / "module.py").write_text('"""No package (page: book/nest/module.md)."""\n')
    (house.sources / "_private").mkdir()
    (house.sources / "_private" / "__init__.py").touch()
    assert chapters() == ("burrow/mole_rat", "burrow/rabbit", "nest/owl")


def test_a_page_named_below_the_first_line_does_not_make_a_chapter(house):
    house.chapter("burrow/rabbit")
    (house.sources / "burrow" / "rabbit" / "__init__.py").write_text('"""Rabbits.\n\npage: book/burrow/rabbit.md\n"""\n')
    assert chapters() == ()


def test_listing_imports_no_chapter(house):
    house.chapter("burrow/rabbit")
    (house.sources / "burrow" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    assert chapters() == ("burrow/rabbit",)


def test_modules_named_imports_only_what_exists(house):
    house.chapter("burrow/rabbit", claims="VALUE = 3\n")
    house.chapter("nest/owl", experiment="")
    found = modules_named("claims")
    assert list(found) == ["burrow/rabbit"]
    assert found["burrow/rabbit"].VALUE == 3
    assert found["burrow/rabbit"].__name__ == package_of("burrow/rabbit") + ".claims"


def test_an_import_error_inside_a_module_is_not_its_absence(house):
    house.chapter("burrow/rabbit", claims="import no_such_library_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_library_at_all"):
        modules_named("claims")


def test_addresses():
    assert page_of("memory/hopfield_mixer") == "book/memory/hopfield_mixer"
    assert stem("memory/hopfield_mixer") == "hopfield-mixer"
    assert anchor("claim", "memory.hopfield_mixer.energy_rate") == "claim-memory-hopfield-mixer-energy-rate"


def test_the_first_chapter_is_found():
    assert "memory/hopfield_mixer" in chapters()
    # A package that names another chapter's page is a tool of that chapter, not a chapter.
    assert not {"memory/plots", "mixers/kronecker"} & set(chapters())


def test_importing_hopmix_is_lazy_and_parts_are_attributes():
    code = (
        "import sys, hopmix; before = set(sys.modules); assert 'torch' not in before;"
        "assert hopmix.chapter.stem('a/b_c') == 'b-c'; assert 'memory' in dir(hopmix); assert 'torch' not in sys.modules;"
        "assert hopmix.memory is sys.modules['hopmix.memory']"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(hopmix.__file__).parent.parent)
    assert done.returncode == 0, done.stderr


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'memroy'"):
        hopmix.memroy  # noqa: B018
    assert not hasattr(hopmix, "__wrapped__")
