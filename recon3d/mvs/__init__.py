"""Dense multi-view stereo: selection of views, PatchMatch, filtering, fusion; NumPy and numba only."""
