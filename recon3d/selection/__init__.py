"""Which stills of a video make the best photos: motion, sharpness and the choice between them."""
