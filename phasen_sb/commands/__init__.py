"""The subcommands of the console command `phasen`.

Each module has `add_arguments(parser)` and `run(arguments)`, and imports what
is slow to load within `run`.
"""
