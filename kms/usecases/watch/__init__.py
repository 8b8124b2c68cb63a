"""What the service notices by itself, and whom it tells."""
