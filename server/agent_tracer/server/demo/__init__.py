"""What `agent-tracer demo` plays: three agents over real SDKs, against a model stand-in on this machine.

Needs the extra `agent-tracer[demo]`; nothing of it is imported by the server.
"""
