"""The program of an image as one file: compiled, without its sources.

A zip of byte code that Python runs by itself, made once for the images of all services and
versions. Not here: what differs between them (``excerpt``).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from aiopslab import content

_MAIN = "from aiopslab.services.__main__ import run\n\nrun()\n"


def pack(path: Path) -> None:
    """Write the package as it lies here; an image's has what its Dockerfile takes of it.

    Raises:
        OSError: The file cannot be written.
    """
    root = Path(content.__file__).parent
    with zipfile.PyZipFile(str(path), "w", zipfile.ZIP_DEFLATED) as program:
        program.writepy(str(root))
        program.writestr("__main__.py", _MAIN)
