"""Keys that change by themselves: epochs by their rules, vault keys by version."""
