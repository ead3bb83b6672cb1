"""`python -m hopmix` is the command line."""

from hopmix.cli import main

if __name__ == "__main__":
    main()
