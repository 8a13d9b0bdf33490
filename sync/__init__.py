"""How changes travel and who wins; nothing here knows on which side it runs."""
