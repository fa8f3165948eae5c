"""Noticing that a service or an agent does what it has never done at this hour."""
