"""The commands of the centre: ``mes-central``."""
