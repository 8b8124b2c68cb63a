"""Steps that several kinds of ceremonies share: shares, tokens, keys, statements."""
