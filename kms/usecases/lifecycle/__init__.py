"""What ends or interrupts a key: suspension, compromise, destruction, legal holds."""
