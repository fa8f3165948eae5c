"""The API's descriptor set (api.binpb)."""
