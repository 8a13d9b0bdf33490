"""``python -m central`` is ``mes-central``."""

from __future__ import annotations

from central.cli.command import main

if __name__ == "__main__":
    main()
