"""What is kept: the database and the files in `.ralph/`."""
