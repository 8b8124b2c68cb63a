"""The daemon: what is known of every device, what is decided, done and reported."""
