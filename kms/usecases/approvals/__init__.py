"""Requests for approval: frozen, signed by several people, carried out once."""
