"""The local key API over HTTP."""
