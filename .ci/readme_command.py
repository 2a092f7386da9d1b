"""Print one of the two commands of the README: `python readme_command.py demo|tests`."""

import re
import sys
from pathlib import Path

readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
match = re.search(rf"<!-- command: {re.escape(sys.argv[1])} -->\n+```bash\n(.+)\n```", readme)
if match is None:
    sys.exit(f"README.md has no command {sys.argv[1]!r}")
print(match.group(1))
