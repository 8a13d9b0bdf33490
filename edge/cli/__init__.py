"""The commands of a site: ``mes-edge`` runs it, ``mes-sync`` looks at it."""
