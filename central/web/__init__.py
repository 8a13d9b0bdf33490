"""What people look at with a browser: pages rendered here, of the same answers as the API gives."""
