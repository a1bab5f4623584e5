"""``python -m rekur``."""

from rekur.cli import main

raise SystemExit(main())
