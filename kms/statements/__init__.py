"""Signed statements and their canonical form: manifests, rosters, key lists. Shared by worker, client and verifier."""
