"""Reports: answers to questions, read from the centre's tables by SQL."""
