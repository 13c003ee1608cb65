"""Videos as they come from a camera: their frames, and faces followed from frame to frame."""
