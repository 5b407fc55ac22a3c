"""The public names, and the one tree of errors."""

import inspect
import subprocess
import sys

import pytest

import realm
from realm import errors


@pytest.mark.parametrize("name", realm.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(realm, name).__name__ == name
    assert name in dir(realm)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = realm.nothing


def test_importing_realm_loads_no_layer() -> None:
    code = "import realm, sys; print(sum(name.startswith('realm.') for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "0"


def test_every_error_has_one_ancestor_and_a_place_in_the_tree() -> None:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    assert len(classes) > 20
    for each in classes:
        assert issubclass(each, errors.RealmError)
        assert each.__name__ in (errors.__doc__ or ""), f"{each.__name__} is not in the tree"
        assert each.__doc__
