"""Compare the API with the one that landed last: origin/main where there is one, else the last commit."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DESCRIPTORS = "gen/agent_tracer/descriptors/api.binpb"


def landed() -> bytes | None:
    """The descriptor set of the last landed version; None where there is none yet."""
    for revision in ("origin/main", "HEAD"):
        shown = subprocess.run(
            ["git", "-C", str(ROOT), "show", f"{revision}:{DESCRIPTORS}"], capture_output=True, check=False
        )
        if shown.returncode == 0:
            return shown.stdout
    return None


def main() -> int:
    before = landed()
    if before is None:
        print("breaking: no earlier version of the API to compare with")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        against = Path(folder) / "landed.binpb"
        against.write_bytes(before)
        buf = Path(sys.executable).with_name("buf")
        command = [str(buf), "breaking", DESCRIPTORS, "--against", str(against), "--config", "buf.yaml"]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
