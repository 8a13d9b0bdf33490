"""A soak: a whole system under steady load and mixed faults, for minutes or hours."""
