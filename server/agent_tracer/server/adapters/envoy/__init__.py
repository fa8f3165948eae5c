"""Envoy before the gRPC server: REST on three ports, each with its own services."""
