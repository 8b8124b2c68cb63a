"""Compliance reports: figures worked out from an evidence bundle, and what clauses come to."""
