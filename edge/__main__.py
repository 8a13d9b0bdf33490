"""``python -m edge`` is ``mes-edge``."""

from __future__ import annotations

from edge.cli.edge_command import main

if __name__ == "__main__":
    main()
