"""The kinds of ceremonies, one module each."""
