"""The subcommands of the console command ``phasen``.

Each module has ``add_arguments(parser)``, which declares the options, and
``run(arguments)``, which carries the command out with the parsed options. It
raises :class:`phasen_sb.errors.UserError` if an option, a file, a folder or an
optional package cannot be used. What loads slowly, such as torch, is imported
within ``run``, so that help and wrong options are answered at once.
"""
