"""The calls of the face, by noun. Each reads its input, asks the desk and shows the answer."""
