"""Compliance reports: made from the log up to a checkpoint, kept, exported."""
