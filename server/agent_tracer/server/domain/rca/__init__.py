"""Root cause analysis: what failed first, why, and with what confidence."""
