"""The command line ``recon3d``."""
