"""One ordinary forward pass, and what can be read from it."""
