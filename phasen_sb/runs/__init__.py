"""Training runs side by side: settings, scores, time and curves."""
