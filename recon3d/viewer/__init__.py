"""What is seen of a model: its content, pictures of it in software, and the page that shows it."""
