"""Whose word counts in a ceremony: register rules, approvals, quorum, signatures."""
