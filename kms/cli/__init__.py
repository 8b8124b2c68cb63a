"""The conclave command."""
