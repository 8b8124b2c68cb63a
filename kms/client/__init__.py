"""What meeting servers and devices use."""
