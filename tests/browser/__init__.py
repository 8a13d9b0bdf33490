"""The dashboard in a real browser, on a whole system."""
