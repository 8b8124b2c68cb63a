"""The service's state and its audit log in one SQL database: many readers, one writer."""
