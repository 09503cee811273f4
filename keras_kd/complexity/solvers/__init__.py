"""Solvers of a kernel's linear systems, one a file, with one contract."""
