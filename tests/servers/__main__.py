"""`python -m tests.servers install NAME...`, where `all` is every one, or `list`."""

import subprocess
import sys

from tests.servers import recipes


def main(arguments: list[str]) -> int:
    """Install the named servers one after the other, or list all; return the exit status."""
    if not arguments or arguments == ["list"]:
        for name, recipe in recipes.RECIPES.items():
            print(f"{name:10} {recipe.version:10} {recipes.installed(name) or 'not installed'}")
        return 0
    if arguments[0] != "install" or len(arguments) == 1:
        print(__doc__, file=sys.stderr)
        return 2
    names = list(recipes.RECIPES) if arguments[1:] == ["all"] else arguments[1:]
    for name in names:
        try:
            print(recipes.install(name), flush=True)
        except (LookupError, RuntimeError, subprocess.CalledProcessError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
