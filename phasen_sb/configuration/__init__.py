"""A recipe's YAML: read, merged, checked."""

# YAMLs of earlier versions name it here: !apply:phasen_sb.configuration...
from phasen_sb.utils.hardware import (
    fastest_precision as fastest_precision,
)
