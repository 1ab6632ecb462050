"""`python lightning_cli.py fit|validate|test|predict`; the same as the console script `slifmr`."""

from slifmr_pl.cli.entry_point import main

if __name__ == "__main__":  # worker processes import this file again
    raise SystemExit(main())
