"""What every site and the centre agree on: vocabulary, catalogue, clock, errors."""
