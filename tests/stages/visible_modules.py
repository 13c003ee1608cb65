"""The beginning of a program to which only some packages are installed, for tests of what a package needs."""

from collections.abc import Iterable

_BEGINNING = """
import sys

class Visible:
    def __init__(self, finders):
        self.finders = list(finders)

    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in {names} or top in sys.stdlib_module_names or top.startswith("_sysconfigdata"):
            specs = (finder.find_spec(name, path, target) for finder in self.finders)
            return next(filter(None, specs), None)

sys.meta_path[:] = [Visible(sys.meta_path)]
"""


def only(names: Iterable[str]) -> str:
    """Hides all modules but `names` and the standard library, whose build settings have a name of each platform."""
    return _BEGINNING.format(names=sorted(names))
