"""`python -m mergelang` is `mergelang`."""

from mergelang.cli import main

if __name__ == "__main__":
    main()
