"""Signed statements and their canonical form, shared by worker, client and verifier."""
