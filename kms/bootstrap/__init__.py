"""Puts processes together; nothing else constructs adapters."""
