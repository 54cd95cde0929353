"""``python -m recon3d``: the command line."""

from recon3d.cli.commands import main

if __name__ == "__main__":
    main()
