"""What belongs with a trace: metrics, log records, traces and events around it. Pure functions over aggregates."""
