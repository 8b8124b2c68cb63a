"""Conclave's key management service."""
