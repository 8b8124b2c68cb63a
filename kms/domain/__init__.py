"""What the service is about: frozen types and the rules that need nothing but themselves."""
