"""``python -m aiopslab``: the command line without the console script."""

from aiopslab.cli import main

main()
