"""Generated from proto/agent_tracer/v1. Never edited."""
