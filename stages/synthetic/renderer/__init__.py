"""The renderer: identities, images and clips of them, and the files of a release."""
