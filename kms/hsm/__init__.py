"""The only door to PKCS#11."""
