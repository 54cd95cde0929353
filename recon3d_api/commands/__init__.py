"""Commands of ``recon3d-api`` that maintain, by what they speak of."""
