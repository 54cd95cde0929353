"""What notebooks show: the model, the progress of a run, plots."""
