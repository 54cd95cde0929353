"""The seven stages, one module each: ``run(inputs, options, out_dir, context)``."""
