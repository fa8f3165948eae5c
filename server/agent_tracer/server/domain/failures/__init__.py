"""Failed runs: which agent failed at which step, and which runs failed alike. Pure functions over recorded steps."""
