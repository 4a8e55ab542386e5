"""How fast and how frugal a model is on this machine."""
