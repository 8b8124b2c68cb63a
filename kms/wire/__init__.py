"""The shapes that cross the key API."""
