"""`python -m feddiff_secure` is the command line."""

from feddiff_secure.cli.entry import main

if __name__ == "__main__":
    main()
