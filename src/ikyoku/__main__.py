"""`python -m ikyoku` is the command line."""

from ikyoku.cli import main

if __name__ == "__main__":
    main()
