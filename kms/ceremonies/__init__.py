"""What people do together: steps that make and register keys."""
