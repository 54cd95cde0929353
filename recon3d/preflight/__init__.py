"""What can be said of inputs before hours are spent on them.

``probe`` tells what a file is, and where each fact comes from; ``check`` looks at a sample of the
images, and foretells what a run would take.
"""
