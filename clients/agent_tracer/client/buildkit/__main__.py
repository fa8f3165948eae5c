"""`python -m agent_tracer.client.buildkit`: the same as `agent-tracer-ci`."""

import sys

from agent_tracer.client.buildkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
