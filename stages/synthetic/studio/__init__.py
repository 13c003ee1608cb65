"""The renderer: people, pictures and clips of them, and files to publish them in."""
