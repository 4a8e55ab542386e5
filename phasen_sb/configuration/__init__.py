"""A recipe's YAML: read, merged, checked."""
