"""How it is told: notebook runner, claims and verdicts, figures, what chapters share."""

import os
import sys
from pathlib import Path

# Jupyter starts a notebook in its own folder; chapters name files from the repository's.
_HERE = Path.cwd()
if "ipykernel" in sys.modules and _HERE.name == "notebooks" and (_HERE.parent / "book").is_dir():
    os.chdir(_HERE.parent)
