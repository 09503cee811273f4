"""What came of studies: tables and figures."""
